#!/usr/bin/env bash
# Checks that the tests catch each mutant: applies one patch of this folder at a time to a copy of
# the tree and expects the tests that its first line names to fail.
#
#   tests/mutants/run.sh             all mutants
#   tests/mutants/run.sh no-xadd     the ones whose name contains this
#
# With MUTANTS_SECONDS_MAX=N none is begun after so many seconds, and the commit says which comes
# first: so each has its turn. What was not run is told.
#
# A patch begins with a line `tests: FILTER`, a filter of `cargo test --test main`.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
copy=$(mktemp -d) || exit 1
trap 'rm -rf "$copy"' EXIT
# A target folder of their own: cargo tells packages by name, not by folder, and would take a
# mutant's programs for those of the tree.
export CARGO_TARGET_DIR=$root/target/mutants

git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
cd "$copy" || exit 1

run_tests() { timeout 600 cargo test --quiet --test main -- "$1" >"$copy/.output" 2>&1; }

patches=("$root"/tests/mutants/*"${1:-}"*.patch)
if [ -n "${MUTANTS_SECONDS_MAX:-}" ]; then
    commit=$(git -C "$root" rev-parse --short=6 HEAD) || exit 1
    first=$((16#${commit:0:6} % ${#patches[@]}))
    patches=("${patches[@]:first}" "${patches[@]:0:first}")
fi

caught=0 survived=0
for patch in "${patches[@]}"; do
    if [ "$SECONDS" -gt "${MUTANTS_SECONDS_MAX:-$SECONDS}" ]; then
        echo "mutants: $((${#patches[@]} - caught - survived)) not run, as time is up"
        break
    fi
    name=$(basename "$patch" .patch)
    filter=$(sed -n '1s/^tests: //p' "$patch")
    if ! patch --quiet --strip=1 <"$patch"; then
        echo "$name: the patch no longer applies"
        exit 1
    fi
    if ! cargo test --quiet --test main --no-run >"$copy/.output" 2>&1; then
        cat "$copy/.output"
        echo "$name: the mutant does not compile"
        exit 1
    fi
    if run_tests "$filter"; then
        echo "$name: SURVIVED ($filter)"
        survived=$((survived + 1))
    elif grep -q '^test result: FAILED' "$copy/.output"; then
        echo "$name: caught by $(sed -n 's/^    \([a-z_:0-9]*::[a-z_:0-9]*\)$/\1/p' "$copy/.output" | sort -u | wc -l) tests ($filter)"
        caught=$((caught + 1))
    else
        tail -20 "$copy/.output"
        echo "$name: the tests ended without a verdict"
        exit 1
    fi
    patch --quiet --strip=1 --reverse <"$patch"
done
echo "mutants: $caught caught, $survived survived"
[ "$survived" -eq 0 ] && [ "$caught" -gt 0 ]
