# What a cluster's node does after machine.sh, with SUBNET, NUMBER and CLOUD_DISK
# (the driver's program, if there are cloud disks) set too.
PKI=$SITE/pki
for m in br_netfilter veth overlay nf_tables nft_masq nft_nat nft_numgen nft_ct nft_fib_inet nft_reject_inet; do modprobe $m; done
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=262144
for c in cpu cpuset io memory pids; do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done
# What runs below has together as much of a busy processor as all pods have, as on a
# machine of a few processors: each process by itself would have more than they.
mkdir /sys/fs/cgroup/system
echo 39 >/sys/fs/cgroup/system/cpu.weight
echo $$ >/sys/fs/cgroup/system/cgroup.procs
for d in /var/lib/kubelet /var/lib/containerd /var/lib/cni /etc/cni/net.d; do keep $d; done
mount --make-rshared /var/lib/kubelet
mkdir -p /etc/containerd /var/log/pods /var/log/containers
# No masquerading and no host ports: every pod's address is routed in the lab,
# and each iptables process takes seconds on an emulated machine.
cat >/etc/cni/net.d/10-lab.conflist <<C
{"cniVersion":"1.0.0","name":"lab","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.$NUMBER.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
C
cat >/etc/containerd/config.toml <<C
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "registry.k8s.io/pause:3.10.1"
# Every container's CPU time, each second, is most of what an idle emulated node does.
[plugins."io.containerd.cri.v1.runtime"]
stats_collect_period = "10m"
stats_retention_period = "1h"
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "/etc/cni/net.d"
C
cat >/run/kubelet.yaml <<C
kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
failSwapOn: false
makeIPTablesUtilChains: false
clusterDNS: [$SUBNET.1]
clusterDomain: cluster.local
resolvConf: /dev/null
imageGCHighThresholdPercent: 100
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%", memory.available: "0%"}
localStorageCapacityIsolation: false
C
# Each is restarted when it ends, as systemd would.
forever() { log=$1; shift; ( while :; do "$@" >>"$log" 2>&1; sleep 1; done ) & }
forever /var/log/containerd.log containerd
while ! [ -S /run/containerd/containerd.sock ]; do sleep .2; done
forever /var/log/kube-proxy.log kube-proxy --kubeconfig $PKI/proxy.kubeconfig --proxy-mode nftables --hostname-override $NODE --cluster-cidr 10.244.0.0/16
[ -z "$CLOUD_DISK" ] || forever /var/log/clouddisk.log "$CLOUD_DISK" node $NODE $CONTROL
forever /var/log/kubelet.log kubelet --config /run/kubelet.yaml --kubeconfig $PKI/$NODE.kubeconfig --hostname-override $NODE --node-ip $ADDRESS --housekeeping-interval 1m
