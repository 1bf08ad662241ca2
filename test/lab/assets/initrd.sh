#!/bin/busybox sh
# First program of a machine: the host's root file system, read-only, under an
# overlay in memory; then the machine's own script (lab.init= on the command line).
b=/bin/busybox
$b mkdir -p /proc /sys /dev /lower /rw /new
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
while read m; do $b insmod $m; done < /mods
$b mount -t virtiofs -o ro host /lower
$b mount -t tmpfs tmpfs /rw; $b mkdir /rw/u /rw/w
$b mount -t overlay -o lowerdir=/lower,upperdir=/rw/u,workdir=/rw/w root /new
for d in proc sys dev; do $b mount --move /$d /new/$d; done
$b mount -t tmpfs tmpfs /new/run; $b mount -t tmpfs tmpfs /new/tmp; $b chmod 1777 /new/tmp
$b mkdir -p /new/host; $b mount --move /lower /new/host
for x in $($b cat /new/proc/cmdline); do case $x in lab.init=*) I=${x#lab.init=};; esac; done
$b cp $b /new/run/busybox
exec $b switch_root /new /run/busybox sh "/host$I"
