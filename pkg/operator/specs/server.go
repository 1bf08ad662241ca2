package specs

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

const (
	apiPort    = 32607
	healthPort = 9810

	// SettingsDir is where SettingsVolume is mounted in every pod of ours.
	SettingsDir = "/etc/dotmesh/settings"
	runDir      = "/run/dotmesh"
	// deviceDir has the node of the PVC's block device in it, for the server.
	deviceDir  = "/devices"
	poolDevice = "dotmesh-pool"
	// backendDir is where a PVC with a file system is mounted.
	backendDir = "/backend"
	pvcVolume  = "pvc"
)

// ServerPod is the server's pod. Killing it disturbs no mounted volume.
func ServerPod(cluster Cluster, c config.Config, s Server) *corev1.Pod {
	pod := newPod(cluster, s.Name(), ComponentServer, s.Node, s.Claim)
	pod.Spec = serverSpec(cluster, c, s)
	pod.Annotations[AnnotationSpec] = ServerHash(cluster, c, s)
	return pod
}

// ServerHash changes with what a running server has to be replaced for: not with
// what differs from pod to pod, nor with the size of a pool, which grows while it
// is used.
func ServerHash(cluster Cluster, c config.Config, s Server) string {
	c.Local.PoolSize = config.Size{}
	alike := Server{}
	if s.Claim != nil {
		alike.Claim = &Claim{VolumeMode: s.Claim.VolumeMode}
	}
	return hash(serverSpec(cluster, c, alike))
}

func serverSpec(cluster Cluster, c config.Config, s Server) corev1.PodSpec {
	spec := podSpec(s.Node)
	spec.HostPID = true // whose mount keeps a dataset busy is found in /proc/*/mountinfo
	spec.Volumes, spec.Containers = serverVolumes(), []corev1.Container{serverContainer(cluster, c, s)}
	switch {
	case s.Claim == nil:
		addDir(&spec, "pool", c.Local.PoolLocation.String())
	case s.Claim.VolumeMode == corev1.PersistentVolumeFilesystem:
		spec.Volumes = append(spec.Volumes, claimVolume(s.Claim.PVC))
		mount(&spec, corev1.VolumeMount{Name: pvcVolume, MountPath: backendDir})
	default:
		addDevice(&spec, cluster, s.Claim.PVC)
	}
	return spec
}

// addDir gives the server a directory of the node.
func addDir(spec *corev1.PodSpec, name, path string) {
	spec.Volumes = append(spec.Volumes, hostDir(name, path, corev1.HostPathDirectoryOrCreate))
	mount(spec, corev1.VolumeMount{Name: name, MountPath: path})
}

func mount(spec *corev1.PodSpec, m corev1.VolumeMount) {
	server := &spec.Containers[0]
	server.VolumeMounts = append(server.VolumeMounts, m)
}

// addDevice gives the server a PVC's block device. It has the host's /dev for the
// loop devices, and a runtime makes no device nodes in a /dev that is mounted: so a
// container without it copies the node to where the server finds it.
func addDevice(spec *corev1.PodSpec, cluster Cluster, pvc string) {
	spec.Volumes = append(spec.Volumes, claimVolume(pvc), corev1.Volume{Name: "devices", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: quantity("1Mi")}, // never nodev
	}})
	devices := corev1.VolumeMount{Name: "devices", MountPath: deviceDir}
	spec.InitContainers = []corev1.Container{{
		Name:            "device",
		Image:           cluster.Image,
		ImagePullPolicy: cluster.ImagePullPolicy,
		Command:         []string{"cp", "-R", "--remove-destination", "/dev/" + poolDevice, deviceDir + "/" + poolDevice},
		VolumeDevices:   []corev1.VolumeDevice{{Name: pvcVolume, DevicePath: "/dev/" + poolDevice}},
		VolumeMounts:    []corev1.VolumeMount{devices},
		Resources:       Requests("10m", "16Mi"),
		SecurityContext: Locked("MKNOD"),
	}}
	mount(spec, devices)
}

func serverContainer(cluster Cluster, c config.Config, s Server) corev1.Container {
	return corev1.Container{
		Name:            ComponentServer,
		Image:           cluster.Image,
		ImagePullPolicy: cluster.ImagePullPolicy,
		Command:         []string{"dotmesh", "server"},
		Args:            serverArgs(cluster, c, s),
		Env:             []corev1.EnvVar{FieldEnv("NODE_NAME", "spec.nodeName"), FieldEnv("POD_IP", "status.podIP")},
		Ports: []corev1.ContainerPort{
			{Name: "api", ContainerPort: apiPort, Protocol: corev1.ProtocolTCP},
			{Name: "health", ContainerPort: healthPort, Protocol: corev1.ProtocolTCP},
		},
		// Making or importing a pool may take minutes.
		StartupProbe:   probe("/healthz", 2, 10, 300),
		LivenessProbe:  probe("/healthz", 20, 15, 6),
		ReadinessProbe: probe("/readyz", 5, 10, 3),
		Resources:      Requests("100m", "128Mi"),
		SecurityContext: &corev1.SecurityContext{
			Privileged:             ptr(true), // pools, loop devices, mounts
			ReadOnlyRootFilesystem: ptr(true),
		},
		VolumeMounts: []corev1.VolumeMount{
			// For the host's own zfs and modprobe, which fit its kernel module. The
			// propagation matters: a private copy of the host's mounts would keep
			// datasets busy after kubelet unmounted them.
			{Name: "host", MountPath: "/host", ReadOnly: true, MountPropagation: ptr(corev1.MountPropagationHostToContainer)},
			{Name: "modules", MountPath: "/lib/modules", ReadOnly: true},
			{Name: "dev", MountPath: "/dev"},
			{Name: "run", MountPath: runDir},
			{Name: "tmp", MountPath: "/tmp"},
			SettingsMount(),
			{Name: "secret", MountPath: "/secret", ReadOnly: true},
			{Name: "tls", MountPath: "/etc/dotmesh/tls", ReadOnly: true},
			{Name: "etcd-tls", MountPath: "/etc/dotmesh/etcd", ReadOnly: true},
			{Name: "ca", MountPath: "/etc/dotmesh/ca", ReadOnly: true},
		},
	}
}

func serverArgs(cluster Cluster, c config.Config, s Server) []string {
	args := []string{"--node-name=$(NODE_NAME)"}
	if s.Zone != "" {
		args = append(args, "--zone="+s.Zone)
	}
	args = append(args, poolArgs(c, s.Claim)...)
	for _, url := range cluster.Etcd {
		args = append(args, "--etcd-endpoints="+url)
	}
	return append(args,
		"--etcd-ca=/etc/dotmesh/etcd/ca.crt",
		"--etcd-cert=/etc/dotmesh/etcd/tls.crt",
		"--etcd-key=/etc/dotmesh/etcd/tls.key",
		"--listen=:"+strconv.Itoa(apiPort),
		"--health-listen=:"+strconv.Itoa(healthPort),
		"--tls-cert=/etc/dotmesh/tls/tls.crt",
		"--tls-key=/etc/dotmesh/tls/tls.key",
		"--client-ca=/etc/dotmesh/ca/ca.crt",
		"--peer-name=dotmesh."+cluster.Namespace+".svc",
		"--secret-dir=/secret",
		"--settings-dir="+SettingsDir,
		"--run-dir="+runDir,
		"--zfs-host-prefix=/host",
	)
}

func poolArgs(c config.Config, claim *Claim) []string {
	if claim == nil {
		return []string{
			"--pool-name=" + c.PoolName.String(),
			"--pool-location=" + c.Local.PoolLocation.String(),
			"--pool-size=" + c.Local.PoolSize.String(),
		}
	}
	args := []string{
		"--pool-name=" + claim.PoolName,
		"--pool-multihost",
		"--pool-claim=" + string(claim.UID),
		"--pool-generation=" + strconv.FormatUint(claim.Generation, 10),
	}
	if claim.VolumeMode == corev1.PersistentVolumeFilesystem {
		args = append(args, "--pool-location="+backendDir, "--pool-size=auto")
	} else {
		args = append(args, "--pool-device="+deviceDir+"/"+poolDevice)
	}
	if claim.TakeOver {
		args = append(args, "--pool-take-over")
	}
	return args
}

func serverVolumes() []corev1.Volume {
	return []corev1.Volume{
		hostDir("host", "/", corev1.HostPathDirectory),
		hostDir("modules", "/lib/modules", corev1.HostPathDirectory),
		hostDir("dev", "/dev", corev1.HostPathDirectory),
		hostDir("run", runDir, corev1.HostPathDirectoryOrCreate),
		{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		SettingsVolume(),
		SecretVolume("secret", "dotmesh"),
		SecretVolume("tls", "dotmesh-server-tls"),
		SecretVolume("etcd-tls", "dotmesh-etcd-client"),
		SecretVolume("ca", "dotmesh-ca-cert"),
	}
}

func probe(path string, period, timeout, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     httpGet(path),
		PeriodSeconds:    period,
		TimeoutSeconds:   timeout,
		FailureThreshold: failures,
	}
}
