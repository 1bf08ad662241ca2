# What every machine does as PID 1, after the variables NODE, ADDRESS, CONTROL,
# GATEWAY, HOSTID, MACHINE_ID, SITE (its directory as seen here) and BIN were set.
# The shell is busybox's, whose commands need no start of a program: that is up
# to a second each on an emulated machine.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$BIN HOME=/root LC_ALL=C.UTF-8
ulimit -n 1048576
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm /run/sshd /run/lock
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
hostname "$NODE"
ip link set lo up; ip link set eth0 up; ip link set eth1 up; ip addr add "$CONTROL/24" dev eth1
ip addr add "$ADDRESS/24" dev eth0; ip route add default via "$GATEWAY"
mount --make-rshared /

# The one disk is what a power cut leaves.
mkdir -p /state && mount -t ext4 /dev/vda /state || echo "LAB-ERROR no state disk"
keep() { mkdir -p "/state$1" "$1"; mount --bind "/state$1" "$1"; }
keep /var/lib/dotmesh
keep /var/log
echo "$MACHINE_ID" >/etc/machine-id
printf "\\x${HOSTID:6:2}\\x${HOSTID:4:2}\\x${HOSTID:2:2}\\x${HOSTID:0:2}" >/etc/hostid

modprobe zfs || echo "LAB-ERROR modprobe zfs"
modprobe loop
cp "$SITE/host_key" /run/host_key; cp "$SITE/ssh_key.pub" /run/authorized_keys
chmod 600 /run/host_key /run/authorized_keys
# Whatever root's shell does at home on the host (it may start pyenv) is not wanted here.
for f in /root/.bashrc /root/.ssh/rc; do [ -e $f ] && mount --bind /dev/null $f; done
/usr/sbin/sshd -h /run/host_key -o StrictModes=no -o UsePAM=no -o MaxSessions=200 -o AuthorizedKeysFile=/run/authorized_keys -o SetEnv=PATH=$PATH -o SetEnv=LC_ALL=C.UTF-8
