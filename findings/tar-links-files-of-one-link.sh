#!/usr/bin/env bash
# GNU tar with several operands stores a file as a hard link to another one, although both say that they have one link.
#
# Seen with:  GNU tar 1.34 of Debian 12 on Linux 6.18.
# One expects that a file whose link count is 1 is stored whole, because there is no other name of it.
# What happens: with one operand that holds, and with more than one it does not. Then tar remembers every file that it
#   has stored, and writes a link in place of bytes where it meets an inode again. Two trees that share inodes are stored
#   whole by `tar -cf x .`. By `tar -cf x one two` the second is stored as links, and cannot be extracted alone.
# What follows: the views of a mount and its live tree share the inodes of their files, so that pages are kept once. Each
#   is packed by a tar of its own: ../docs/clients.md#tar-rsync-cp.
set -Eeuo pipefail
trap 'exit 2' ERR
tar --version | sed -n 1p
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir one two
echo text >one/file

# A bind mount gives a file of one link a second name, in a namespace that goes with its last process.
cat >show <<'END'
set -euo pipefail
mount --bind one two
echo "link counts: $(stat -c %h one/file two/file | xargs)"
echo "one operand: $(tar -cf - . | tar -tv | { grep -c ' link to ' || true; }) stored as a link"
tar -cf all.tar one two
echo "two operands: $(tar -tvf all.tar | { grep -c ' link to ' || true; }) stored as a link"
mkdir again
if tar -C again -xf all.tar two 2>/dev/null; then echo 'the second alone can be extracted'; else
    echo 'the second alone cannot be extracted'
fi
END
unshare --map-root-user --mount bash show >seen 2>log || {
    echo "failed: it needs a user namespace and bind mounts: $(<log)" >&2
    exit 2
}
seen=$(<seen)

expected='link counts: 1 1
one operand: 0 stored as a link
two operands: 1 stored as a link
the second alone cannot be extracted'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: tar no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
