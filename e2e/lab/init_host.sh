# PID 1 of a host: lays the mounts, says "up", and ends when its standard input does.
# $1: the host's directory on the machine; $2: host name; $3: where its disk is mounted.
mount --make-rprivate /
mount -t proc proc /proc
umount -R -l /sys
mount -t sysfs sysfs /sys
hostname "$2"

# A reboot forgets /run.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/libvirt /run/lock

for dir in etc/libvirt var/lib/libvirt var/cache/libvirt var/log/libvirt; do
	mount --bind "$1/root/$dir" "/$dir"
done
mount -o loop "$1/disk.img" "$3"

# Orphans become children of PID 1. With SIGCHLD ignored the kernel reaps them; libvirt waits for that.
echo up
exec env --ignore-signal=CHLD cat >/dev/null
