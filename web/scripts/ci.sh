#!/bin/sh
# The pages in CI: what is committed matches the sources, and a browser uses them against a real server.
# Skips, and says so, where Node or Chromium is missing and cannot be installed. Run it at the root of the repository.
set -u
NODE_OLDEST=20.19.0

node_is_new() {
    command -v npm >/dev/null && node -e '
        const [have, want] = [process.versions.node, process.argv[1]].map((one) => one.split(".").map(Number));
        process.exit(have[0] > want[0] || (have[0] === want[0] && have[1] >= want[1]) ? 0 : 1)' $NODE_OLDEST
}

# Debian's Chromium, or Playwright's in the user's cache.
install_chromium() {
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null && return
    fi
    timeout 120 node node_modules/playwright-core/cli.js install chromium-headless-shell
}

if ! node_is_new; then
    echo "THE PAGES ARE NOT TESTED: no Node $NODE_OLDEST or newer with npm."
    exit 0
fi
cd web || exit 1
npm ci --no-audit --no-fund || exit 1
npm run check || exit 1
node scripts/has-chromium.mjs || install_chromium || echo "Chromium cannot be installed here."
cd .. || exit 1
state=$(mktemp -d) || exit 1
HOLDFAST_LISTEN=127.0.0.1:0 python3 deploy/run.py --state "$state" --exec sh -c 'cd web && npm test'
status=$?
rm -rf "$state"
exit $status
