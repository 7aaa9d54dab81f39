#!/bin/sh
# Run a command in a mount namespace of its own in which fusectl is mounted, as it is on a machine with a service
# manager: with_fusectl.sh COMMAND...
mountpoint -q /sys/fs/fuse/connections || mount -t fusectl none /sys/fs/fuse/connections || exit 1
exec "$@"
