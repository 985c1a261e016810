{{- define "holdfast.labels" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "holdfast.name" -}}
{{- if eq .Release.Name "holdfast" }}holdfast{{ else }}{{ printf "%s-holdfast" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "holdfast.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* What both kinds of pods have. */}}
{{- define "holdfast.pod" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "holdfast.name" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
terminationGracePeriodSeconds: {{ .own.terminationGracePeriodSeconds }}
{{- with .own.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .own.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "holdfast.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{/* What both kinds of containers have. */}}
{{- define "holdfast.container" -}}
image: {{ include "holdfast.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
resources: {{ toYaml .own.resources | nindent 2 }}
envFrom:
  - configMapRef: { name: {{ include "holdfast.name" .root }} }
{{- end }}

{{/* Variables from the Secret; `HOLDFAST_…` keys have their own name. */}}
{{- define "holdfast.secretEnv" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef: { name: {{ .root.Values.secret.name | quote }}, key: {{ .key | default .variable }} }
{{- end }}

{{- define "holdfast.sharedSecrets" -}}
{{ include "holdfast.secretEnv" (dict "root" . "variable" "HOLDFAST_MONGODB_URL" "key" "mongodb-url") }}
{{- if eq .Values.payments.provider "stripe" }}
{{ include "holdfast.secretEnv" (dict "root" . "variable" "HOLDFAST_STRIPE_SECRET_KEY") }}
{{ include "holdfast.secretEnv" (dict "root" . "variable" "HOLDFAST_PAYMENT_WEBHOOK_SECRET") }}
{{- end }}
{{- end }}

{{- define "holdfast.volumes" -}}
{{- if .keys }}
- name: keys
  secret:
    secretName: {{ .root.Values.secret.name | quote }}
    items:
      {{- range .keys }}
      - { key: {{ . | quote }}, path: {{ . | quote }} }
      {{- end }}
{{- end }}
{{- if .root.Values.tlsSecret }}
- name: tls
  secret: { secretName: {{ .root.Values.tlsSecret | quote }} }
{{- end }}
{{- end }}

{{- define "holdfast.volumeMounts" -}}
{{- if .keys }}
- { name: keys, mountPath: /etc/holdfast/keys, readOnly: true }
{{- end }}
{{- if .root.Values.tlsSecret }}
- { name: tls, mountPath: /etc/holdfast/tls, readOnly: true }
{{- end }}
{{- end }}

{{/* Restarts pods when their settings change. */}}
{{- define "holdfast.annotations" -}}
checksum/settings: {{ include (print .root.Template.BasePath "/configmap.yaml") .root | sha256sum }}
{{- with .root.Values.secret.revision }}
holdfast/secret-revision: {{ . | quote }}
{{- end }}
{{- with .own.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
