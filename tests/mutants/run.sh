#!/usr/bin/env bash
# Checks that the tests detect mutants: small mistakes in the code, each of which must make a test fail.
#
#   tests/mutants/run.sh             all of them
#   tests/mutants/run.sh claim       the patches whose name contains this
#
# Mutants of Lua are lists in tests (model, engine::waiting_room, engine::limits), which replace a
# script's text as it is loaded: nothing is compiled. Mutants of Rust are the patches of this folder, each
# applied to a copy of the tree. Its first line, `tests: FILTER`, names the tests that must fail.
#
# With MUTANTS_SECONDS_MAX=N only a sample runs: some mutants of Lua, then patches until so many seconds
# have passed. The commit selects the first, so the samples of successive commits differ.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
SAMPLE_LUA=6
TEST_SECONDS_MAX=600

patches=("$root"/tests/mutants/*"${1:-}"*.patch)
[ -e "${patches[0]}" ] || { echo "mutants: no patch is named *${1:-}*.patch"; exit 1; }
if [ -n "${MUTANTS_SECONDS_MAX:-}" ]; then
    commit=$(git rev-parse --short=6 HEAD) || exit 1
    first=$((16#${commit:0:6}))
    export MUTANTS_SAMPLE=$first:$SAMPLE_LUA
    turn=$((first % ${#patches[@]}))
    patches=("${patches[@]:turn}" "${patches[@]:0:turn}")
fi

if [ -z "${1:-}" ]; then
    cargo test --workspace --test main -- --ignored --exact model::mutants::each_changed_script_differs \
        engine::waiting_room::mutants::each_changed_script_is_noticed \
        engine::limits::changed_script_differs_from_the_model || exit 1
    echo "mutants of Lua: detected after $SECONDS s"
fi

copy=$(mktemp -d) || exit 1
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard |
    xargs -0 cp --parents --preserve=timestamps -t "$copy" || exit 1
ln -s "$root/.holdfast" "$copy/.holdfast"
# Begins with what the tests have built, in which only what a patch changes is compiled again. Links
# suffice for what the compiler replaces; cargo writes its fingerprints in place.
export CARGO_TARGET_DIR=$root/target/mutants
built=$root/target/debug
if [ ! -d "$CARGO_TARGET_DIR" ] && [ -d "$built" ]; then
    mkdir -p "$CARGO_TARGET_DIR" && cp -al "$built" "$CARGO_TARGET_DIR/debug" &&
        rm -rf "$CARGO_TARGET_DIR/debug/.fingerprint" "$CARGO_TARGET_DIR/debug/examples" &&
        find "$CARGO_TARGET_DIR/debug" -maxdepth 2 -type f \( -perm -u+x ! -name '*.so' -o -name '*.d' -o -name '.cargo*-lock' \) -delete &&
        cp -a "$built/.fingerprint" "$CARGO_TARGET_DIR/debug/" || exit 1
fi
cd "$copy" || exit 1

build() { cargo test --quiet --workspace --test main --no-run >"$copy/.output" 2>&1; }
run_tests() { timeout "$TEST_SECONDS_MAX" cargo test --quiet --workspace --test main -- "$1" >"$copy/.output" 2>&1; }

caught=0 survived=0
for patch in "${patches[@]}"; do
    if [ "$SECONDS" -gt "${MUTANTS_SECONDS_MAX:-$SECONDS}" ]; then
        echo "mutants of Rust: $((${#patches[@]} - caught - survived)) not run: time is up"
        break
    fi
    name=$(basename "$patch" .patch) began=$SECONDS
    filter=$(sed -n '1s/^tests: //p' "$patch")
    if ! patch --quiet --strip=1 <"$patch"; then
        echo "$name: the patch no longer applies"
        exit 1
    fi
    if ! build; then
        cat "$copy/.output"
        echo "$name: the mutant does not compile"
        exit 1
    fi
    compiled=$((SECONDS - began))
    if run_tests "$filter"; then
        echo "$name: SURVIVED ($filter)"
        survived=$((survived + 1))
    elif grep -q '^test result: FAILED' "$copy/.output"; then
        failed=$(sed -n 's/^    \([a-z_:0-9]*::[a-z_:0-9]*\)$/\1/p' "$copy/.output" | sort -u | wc -l)
        echo "$name: caught by $failed tests ($filter), $compiled s compiling, $((SECONDS - began)) s in all"
        caught=$((caught + 1))
    else
        tail -20 "$copy/.output"
        echo "$name: the tests ended without a verdict"
        exit 1
    fi
    patch --quiet --strip=1 --reverse <"$patch"
done
echo "mutants of Rust: $caught caught, $survived survived"
[ "$survived" -eq 0 ] && [ "$caught" -gt 0 ]
