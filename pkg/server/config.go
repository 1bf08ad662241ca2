package server

import (
	"net"
	"path/filepath"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
)

// Config says what one server serves and where.
type Config struct {
	// NodeName is the Kubernetes node, or host, that the server runs on.
	NodeName string
	// Zone is the failure domain of that node; "" for none.
	Zone string
	Pool PoolConfig
	Etcd EtcdConfig
	// Listen is the API's TCP address, host:port.
	Listen string
	// HealthListen is the TCP address of /healthz and /readyz without TLS, for
	// probes that must not depend on who uses the API; "" for none.
	HealthListen string
	// TLSCert and TLSKey are PEM files; they are read again when they change.
	// With embedded etcd they may be empty: the server then makes its own CA.
	TLSCert, TLSKey string
	// ClientCA is a PEM file of the CA whose client certificates name other
	// servers; "" for none.
	ClientCA string
	// Advertise is where other servers reach the API: a host, or host:port where
	// the port is not Listen's; "" for a server without others.
	Advertise string
	// PeerName is the name that other servers' certificates have.
	PeerName string
	// SecretDir holds the admin's dotmesh-api-key.txt and
	// dotmesh-admin-password.txt; changes are followed.
	SecretDir string
	// SettingsDir holds the operator's settings, a file for each; changes are
	// followed. "" for none.
	SettingsDir string
	settings    *settings // New's
	// RunDir holds a directory for each pool, with the node service's socket.
	RunDir string
	// HostPrefix is where the host's root is mounted when the server runs in a
	// container, so that the host's userland can be used; "" for none.
	HostPrefix string
	// Recover is leave to add to the registry what the pool holds, where that does not
	// know the pool.
	Recover bool
	// Version is what GetVersion answers.
	Version string
	// Crash is called at every crash point; for tests.
	Crash crash.Hook
}

// PoolConfig says where the dots lie. Root, or the other fields, are set.
type PoolConfig struct {
	// Root is a pool or dataset that exists, to be used as the root.
	Root string
	// Name is that of a pool that the server makes and imports itself: in a file in
	// the directory Location, or on the block device Device.
	Name     string
	Location string
	Device   string
	// SizeBytes is the file's size. 0: as much as its file system has, less what
	// that needs itself. A device is used whole.
	SizeBytes int64
	// Sparse leaves the pool file unallocated.
	Sparse bool
	// Multihost has ZFS keep a pool from being imported by two machines at once.
	Multihost bool
	// Claim, where the pool's disk can move between nodes, is the UID of the
	// PersistentVolumeClaim that it is; Generation counts its assignments to a node,
	// of which this server serves one.
	Claim      string
	Generation uint64
	// TakeOver allows, once in this generation, to import a pool that its last node
	// has not exported.
	TakeOver bool
}

// EtcdConfig says where the registry is. Embedded, or the other fields, are set.
type EtcdConfig struct {
	// Embedded is the data directory of an etcd that runs inside the server.
	Embedded string

	Endpoints     []string
	CA, Cert, Key string
}

// Validate refuses a configuration that cannot work, and says what to change.
func (c Config) Validate() error {
	if c.NodeName == "" {
		return dot.Invalid("the node's name is missing: give --node-name")
	}
	if err := c.Pool.validate(); err != nil {
		return err
	}
	if (c.Etcd.Embedded == "") == (len(c.Etcd.Endpoints) == 0) {
		return dot.Invalid("say where the registry is: either --etcd-endpoints or --embedded-etcd")
	}
	if c.Etcd.Embedded != "" && !filepath.IsAbs(c.Etcd.Embedded) {
		return dot.Invalid("--embedded-etcd %q is not an absolute path", c.Etcd.Embedded)
	}
	if (c.Etcd.Cert == "") != (c.Etcd.Key == "") {
		return dot.Invalid("--etcd-cert and --etcd-key belong together")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return dot.Invalid("--tls-cert and --tls-key belong together")
	}
	if c.TLSCert == "" && c.Etcd.Embedded == "" {
		return dot.Invalid("--tls-cert and --tls-key are missing: only with --embedded-etcd does a server make its own certificates")
	}
	if c.SecretDir == "" && c.Etcd.Embedded == "" {
		return dot.Invalid("--secret-dir is missing: it holds the admin's API key, and none is built in")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return dot.Invalid("--listen %q is not host:port", c.Listen)
	}
	if _, _, err := net.SplitHostPort(c.HealthListen); err != nil && c.HealthListen != "" {
		return dot.Invalid("--health-listen %q is not host:port", c.HealthListen)
	}
	if c.SettingsDir != "" && !filepath.IsAbs(c.SettingsDir) {
		return dot.Invalid("--settings-dir %q is not an absolute path", c.SettingsDir)
	}
	if c.Advertise != "" {
		if _, port, err := net.SplitHostPort(c.advertised()); err != nil || port == "" || port == "0" {
			return dot.Invalid("--advertise %q is neither a host nor host:port", c.Advertise)
		}
		if c.ClientCA != "" && c.PeerName == "" {
			return dot.Invalid("--peer-name is missing: the name in other servers' certificates")
		}
	}
	if !filepath.IsAbs(c.RunDir) {
		return dot.Invalid("--run-dir %q is not an absolute path", c.RunDir)
	}
	return nil
}

// advertised is host:port of Advertise.
func (c Config) advertised() string {
	if c.Advertise == "" {
		return ""
	}
	if _, _, err := net.SplitHostPort(c.Advertise); err == nil {
		return c.Advertise
	}
	_, port, _ := net.SplitHostPort(c.Listen) // Validate looks at it
	return net.JoinHostPort(strings.Trim(c.Advertise, "[]"), port)
}

func (c PoolConfig) validate() error {
	if c.Root != "" {
		if c.Device != "" || c.Claim != "" || c.Generation != 0 || c.TakeOver || c.Multihost {
			return dot.Invalid("--root is a pool of somebody else's making: --pool-device, --pool-claim, --pool-generation, --pool-take-over and --pool-multihost do not go with it")
		}
		return nil
	}
	if c.Name == "" {
		return dot.Invalid("--pool-name is missing")
	}
	if err := c.validatePlace(); err != nil {
		return err
	}
	if c.Claim == "" {
		if c.Generation != 0 || c.TakeOver {
			return dot.Invalid("--pool-generation and --pool-take-over are about a claim: --pool-claim is missing")
		}
		return nil
	}
	if _, err := dot.ParseClaimID(c.Claim); err != nil {
		return dot.Invalid("--pool-claim: %w", err)
	}
	if c.Generation == 0 {
		return dot.Invalid("--pool-generation is missing: it begins with 1")
	}
	return nil
}

// validatePlace looks at where the pool is to lie.
func (c PoolConfig) validatePlace() error {
	if c.Device != "" {
		if !filepath.IsAbs(c.Device) {
			return dot.Invalid("--pool-device %q is not an absolute path", c.Device)
		}
		if c.SizeBytes != 0 || c.Sparse {
			return dot.Invalid("a pool on a device has the device's size: --pool-size and --pool-sparse do not go with --pool-device")
		}
		return nil
	}
	if !filepath.IsAbs(c.Location) {
		return dot.Invalid("--pool-location %q is not an absolute path", c.Location)
	}
	if c.SizeBytes != 0 && c.SizeBytes < pool.MinSize {
		return dot.Invalid("--pool-size of %d MiB is too small: give it at least %dM", c.SizeBytes>>20, pool.MinSize>>20)
	}
	return nil
}
