package etcd

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

const (
	serverTLS = "/etc/etcd/server"
	peerTLS   = "/etc/etcd/peer"

	lookContainer = "look"
	joinContainer = "join"
)

// pod is a member, and beside it what takes snapshots of it.
func (s Spec) pod() corev1.PodSpec {
	no, root := false, int64(0)
	return corev1.PodSpec{
		ServiceAccountName:           specs.ServiceAccount,
		AutomountServiceAccountToken: &no,
		EnableServiceLinks:           &no,
		PriorityClassName:            "system-cluster-critical",
		Tolerations:                  s.tolerations(),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser:      &root, // the directory on the host is root's
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		InitContainers: []corev1.Container{s.look(), s.join()},
		Containers:     []corev1.Container{s.etcd(), s.snapshots()},
		Volumes: []corev1.Volume{
			specs.SecretVolume("server-tls", pki.SecretEtcdServer),
			specs.SecretVolume("peer-tls", pki.SecretEtcdPeer),
			specs.OptionalSettingsVolume(),
		},
	}
}

// tolerations are for what passes, and for nodes that are only full; a member whose
// data lies on a cordoned node goes on there. A node that is out of service is not
// tolerated: its pod must go for its volume to go.
func (s Spec) tolerations() []corev1.Toleration {
	keys := []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable,
		corev1.TaintNodeDiskPressure, corev1.TaintNodeMemoryPressure, corev1.TaintNodePIDPressure}
	if s.Class == LocalClass {
		keys = append(keys, corev1.TaintNodeUnschedulable)
	}
	var all []corev1.Toleration
	for _, key := range keys {
		all = append(all, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists})
	}
	return all
}

func (s Spec) etcd() corev1.Container {
	self := s.self()
	return corev1.Container{
		Name: "etcd", Image: s.Image, Command: []string{"etcd"},
		Args: []string{
			"--name=$(POD_NAME)",
			"--data-dir=" + mountPath + "/data",
			"--listen-client-urls=https://0.0.0.0:2379",
			"--advertise-client-urls=" + self + ":2379",
			"--listen-peer-urls=https://0.0.0.0:2380",
			"--initial-advertise-peer-urls=" + self + ":2380",
			// Members on slow or busy nodes keep their leader; a lost one is replaced after
			// five seconds, a third of a pool's lease.
			"--heartbeat-interval=500", "--election-timeout=5000",
			"--listen-metrics-urls=http://0.0.0.0:2381",
			"--cert-file=" + serverTLS + "/tls.crt",
			"--key-file=" + serverTLS + "/tls.key",
			"--trusted-ca-file=" + serverTLS + "/ca.crt",
			"--client-cert-auth",
			"--peer-cert-file=" + peerTLS + "/tls.crt",
			"--peer-key-file=" + peerTLS + "/tls.key",
			"--peer-trusted-ca-file=" + peerTLS + "/ca.crt",
			"--peer-client-cert-auth",
			"--enable-grpc-gateway=false", // nobody asks it, and it would be a client of its own
			"--auto-compaction-mode=periodic",
			"--auto-compaction-retention=1h",
		},
		Env:     podNameEnv(),
		EnvFrom: bootstrapEnv(),
		Ports: []corev1.ContainerPort{
			{Name: "client", ContainerPort: clientPort},
			{Name: "peer", ContainerPort: peerPort},
			{Name: "metrics", ContainerPort: 2381},
		},
		StartupProbe:    probe("/livez", 2, 5, 300), // a learner is never ready
		LivenessProbe:   probe("/livez", 10, 10, 6),
		ReadinessProbe:  probe("/readyz", 5, 5, 3),
		Resources:       specs.Requests("100m", "128Mi"),
		SecurityContext: specs.Locked(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: dataVolume, MountPath: mountPath},
			{Name: "server-tls", MountPath: serverTLS, ReadOnly: true},
			{Name: "peer-tls", MountPath: peerTLS, ReadOnly: true},
		},
	}
}

// self is what a member is reached by, but for the port.
func (s Spec) self() string { return fmt.Sprintf("https://$(POD_NAME).%s.%s.svc", Name, s.Namespace) }

func podNameEnv() []corev1.EnvVar {
	return []corev1.EnvVar{specs.FieldEnv("POD_NAME", "metadata.name")}
}

func bootstrapEnv() []corev1.EnvFromSource {
	return []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: Name}}}}
}

// look ends when it is known whether there is data. A disk that does not answer keeps it,
// and not join: who waits there is taken for one without data.
func (s Spec) look() corev1.Container {
	c := s.join()
	c.Name = lookContainer
	c.Args = append([]string{"--look"}, c.Args...)
	return c
}

// join ends when etcd may be started in this pod, which is never while it is a member that
// has lost its data: of that, etcd itself would make nothing. It guards the pod's start,
// and not that of the container beside it that ended and is run again.
func (s Spec) join() corev1.Container {
	return corev1.Container{
		Name: joinContainer, Image: s.Dotmesh, Command: []string{"dotmesh", "etcd-join"},
		Args: []string{
			"--state=$(" + stateKey + ")",
			"--data-dir=" + mountPath + "/data",
			"--peer-url=" + s.self() + ":2380",
			"--endpoints=" + strings.Join(Endpoints(s.Namespace), ","),
			"--ca=" + serverTLS + "/ca.crt",
			"--cert=" + serverTLS + "/tls.crt",
			"--key=" + serverTLS + "/tls.key",
			"--settings-dir=" + specs.SettingsDir,
		},
		Env:             podNameEnv(),
		EnvFrom:         bootstrapEnv(),
		Resources:       specs.Requests("5m", "32Mi"),
		SecurityContext: specs.Locked(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: dataVolume, MountPath: mountPath, ReadOnly: true},
			{Name: "server-tls", MountPath: serverTLS, ReadOnly: true},
			specs.SettingsMount(),
		},
	}
}

// snapshots shows etcd the certificate that it shows others, which is a client's
// too.
func (s Spec) snapshots() corev1.Container {
	return corev1.Container{
		Name: "snapshots", Image: s.Dotmesh, Command: []string{"dotmesh", "etcd-snapshot"},
		Args: []string{
			"--endpoint=https://localhost:2379",
			"--ca=" + serverTLS + "/ca.crt",
			"--cert=" + serverTLS + "/tls.crt",
			"--key=" + serverTLS + "/tls.key",
			"--dir=" + mountPath + "/snapshots",
			"--every=" + snapshotEvery,
			"--keep=" + snapshotKeep,
			"--settings-dir=" + specs.SettingsDir,
		},
		Resources:       specs.Requests("5m", "32Mi"),
		SecurityContext: specs.Locked(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: dataVolume, MountPath: mountPath},
			{Name: "server-tls", MountPath: serverTLS, ReadOnly: true},
			specs.SettingsMount(),
		},
	}
}

// probe asks the port of the metrics, which is the one that wants no certificate.
func probe(path string, period, timeout, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("metrics")}},
		PeriodSeconds: period, TimeoutSeconds: timeout, FailureThreshold: failures,
	}
}
