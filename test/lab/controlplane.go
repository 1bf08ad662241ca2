package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	serviceCIDR = "10.96.0.0/24"
	serviceIP   = "10.96.0.1"
	podCIDR     = "10.244.0.0/16"
)

// api is the URL of the API server.
func (s *site) api() string             { return "https://" + s.gateway() + ":6443" }
func (s *site) pki() string             { return filepath.Join(s.dir, "pki") }
func (s *site) pkiFile(f string) string { return filepath.Join(s.pki(), f) }

// makePKI issues every certificate of the cluster.
func (s *site) makePKI() error {
	a, err := newAuthority(s.pki(), s.api())
	if err != nil {
		return err
	}
	errs := []error{
		a.serving("apiserver", "127.0.0.1", s.gateway(), serviceIP, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
		a.serving("sa"), // only its key is used
		a.client("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
		a.client("admin", "admin", "system:masters"),
		a.client("kcm", "system:kube-controller-manager"),
		a.client("scheduler", "system:kube-scheduler"),
		a.client("proxy", "system:kube-proxy"),
	}
	for _, m := range s.Machines {
		errs = append(errs, a.node(m.name()))
	}
	return errors.Join(errs...)
}

// controlPlane starts the cluster's services on the host, inside its namespace.
func (s *site) controlPlane(ctx context.Context) error {
	corefile := fmt.Sprintf(`.:53 {
  bind %s
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig %s lab
  }
}
`, s.gateway(), s.pkiFile("admin.kubeconfig"))
	if err := os.WriteFile(filepath.Join(s.dir, "Corefile"), []byte(corefile), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(s.auditPolicy(), []byte(auditPolicy), 0o644); err != nil {
		return err
	}
	for _, d := range []daemon{
		{name: "etcd", argv: []string{s.bin("etcd"), "--data-dir", filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn"}},
		{name: "apiserver", argv: []string{
			s.bin("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379", "--advertise-address=" + s.gateway(), "--secure-port=6443",
			"--tls-cert-file=" + s.pkiFile("apiserver.crt"), "--tls-private-key-file=" + s.pkiFile("apiserver.key"), "--client-ca-file=" + s.pkiFile("ca.crt"),
			"--service-account-key-file=" + s.pkiFile("sa.key"), "--service-account-signing-key-file=" + s.pkiFile("sa.key"),
			"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=" + serviceCIDR,
			"--authorization-mode=Node,RBAC", "--allow-privileged",
			"--kubelet-client-certificate=" + s.pkiFile("kubelet-client.crt"), "--kubelet-client-key=" + s.pkiFile("kubelet-client.key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--audit-policy-file=" + s.auditPolicy(), "--audit-log-path=" + filepath.Join(s.dir, "audit.log"),
		}},
	} {
		if err := s.start(d); err != nil {
			return err
		}
	}
	if err := s.waitAPI(ctx); err != nil {
		return err
	}
	for _, d := range []daemon{
		{name: "controller-manager", argv: []string{
			s.bin("kube-controller-manager"), "--kubeconfig=" + s.pkiFile("kcm.kubeconfig"), "--root-ca-file=" + s.pkiFile("ca.crt"),
			"--service-account-private-key-file=" + s.pkiFile("sa.key"), "--use-service-account-credentials", "--leader-elect=false",
		}},
		{name: "scheduler", argv: []string{s.bin("kube-scheduler"), "--kubeconfig=" + s.pkiFile("scheduler.kubeconfig"), "--leader-elect=false"}},
		{name: "coredns", argv: []string{s.bin("coredns"), "-conf", filepath.Join(s.dir, "Corefile")}},
	} {
		if err := s.start(d); err != nil {
			return err
		}
	}
	return errors.Join(s.snapshotController(ctx), s.startCloudDisk(ctx))
}

func (s *site) bin(name string) string { return s.env.Program(name) }

func (s *site) kubectl(args ...string) []string {
	return s.inNetwork(append([]string{s.bin("kubectl"), "--kubeconfig=" + s.pkiFile("admin.kubeconfig"), "--cache-dir=" + filepath.Join(s.dir, "kubectl")}, args...))
}

func (s *site) waitAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, errors.New("not ready after 3 minutes"))
	defer cancel()
	for {
		err := run(ctx, s.kubectl("get", "--raw", "/readyz")...)
		if err == nil {
			return nil
		}
		for _, d := range []string{"etcd", "apiserver"} {
			if s.pid(d) == 0 {
				return fmt.Errorf("%s stopped: %s", d, s.tail(d))
			}
		}
		if sleep(ctx, 500*time.Millisecond) != nil {
			return fmt.Errorf("API server: %w: %s", context.Cause(ctx), s.tail("apiserver"))
		}
	}
}

func (s *site) snapshotController(ctx context.Context) error {
	if err := run(ctx, s.kubectl("apply", "--server-side", "-f", s.env.crdDir())...); err != nil {
		return err
	}
	if err := run(ctx, s.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", s.env.crdDir())...); err != nil {
		return err
	}
	return s.start(daemon{name: "snapshot-controller", argv: []string{
		s.bin("snapshot-controller"), "--kubeconfig=" + s.pkiFile("admin.kubeconfig"), "--leader-election=false", "--retry-interval-max=10s",
	}})
}
