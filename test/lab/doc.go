// Package lab makes throw-away machines with kernel OpenZFS, alone or as a real
// Kubernetes cluster, on one Linux host without internet.
//
// A machine is a QEMU process (software emulation unless LAB_ACCEL says
// otherwise) that boots Debian's cloud kernel. It sees the host's root file
// system read-only, through virtiofs under an overlay in memory: what the host
// has installed, the machine has, and the host's own files are under /host on
// it. What must survive a power cut lies on the machine's one disk
// (/var/lib/dotmesh, and on a cluster's node also kubelet's, containerd's and
// the logs' directories).
//
// A [VM] is one such machine, up in about ten seconds, to run a compiled Go test
// in. A [Cluster] adds the control plane, which runs on the host inside the
// cluster's own network namespace, and containerd and kubelet on each machine.
// Nodes can be added to it and removed ([Cluster.AddNode], [Node.Remove]).
//
// With [Config.CloudDisk] a cluster has volumes that behave as a cloud's do
// (packages clouddisk and clouddisk/driver): raw files of the host that are plugged
// into running machines. The driver's controller and its sidecars run beside the
// control plane, because the hypervisor is there; its node service is a process of
// each machine that registers itself with kubelet.
//
// Our own image is made in two ways: packed in seconds for the clusters
// ([Env.DotmeshArchive]) and, as people do, from the Dockerfile
// ([Env.DockerfileArchive]); a test holds the two together.
//
// Everything that belongs to one VM or cluster is found by its name: a directory
// below LAB_RUN, a network namespace, and the processes inside that namespace.
// So any number can run side by side (up to the machine-wide number of slots),
// and removing one needs no memory of how far its start had come.
//
// Unless [Config.Detach] is set, the processes die with the process that started
// them, however that ends, and the next user of the lab clears the rest away.
//
// Variables:
//
//	LAB_CACHE  binaries, images, disk templates; default /var/cache/dotmesh-lab
//	LAB_RUN    running machines; default /var/lib/dotmesh-lab
//	LAB_ACCEL  QEMU's -accel; default tcg,thread=multi (/dev/kvm can exist and hang a stock kernel)
//	LAB_MEM    MiB of memory per machine, default 1536, of a cluster 2560
//	LAB_CPUS   processors per machine, default 2, of a cluster of several nodes 1
//	LAB_SLOTS  machines that may run at once on this host, default 4; others wait
package lab
