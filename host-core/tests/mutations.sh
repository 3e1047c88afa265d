#!/bin/sh
# Puts one fault at a time into a copy of the last commit and says which tests see it: every patch of
# tests/sim/mutations, or those named. Fails if a fault passes unseen.
set -eu
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT INT TERM
git -C "$root" archive HEAD | tar -x -C "$copy"
cd "$copy"
export CARGO_TARGET_DIR="${MUTATIONS_TARGET_DIR:-$copy/target}" RUST_BACKTRACE=0
[ $# -gt 0 ] || set -- host-core/tests/sim/mutations/*.patch
unseen=0
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    patch -s -p1 < "host-core/tests/sim/mutations/$name.patch"
    cargo test -q -p host-core --no-fail-fast > out.txt 2>&1 || true
    if ! grep -q '^test result' out.txt; then
        echo "$name: does not compile"; tail -20 out.txt; unseen=1
    elif ! grep -q '^test result: FAILED' out.txt; then
        echo "$name: UNSEEN"; unseen=1
    else
        seed=$(grep -m1 '^seed ' out.txt || echo 'not in the simulator')
        claims=$(sed -n 's/^    \([a-z_:0-9]*\)$/\1/p' out.txt | grep -v '^every_history\|^histories_that\|^a_seed_is' | sort -u | paste -s -d ' ' -)
        echo "$name: $seed | $claims"
    fi
    patch -s -R -p1 < "host-core/tests/sim/mutations/$name.patch"
done
exit $unseen
