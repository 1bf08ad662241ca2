package config

import (
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/names"
)

// text is the shared body of the types whose values are words.
type text struct{ s string }

// String gives the value, "" for none.
func (t text) String() string { return t.s }

// IsZero tells whether there is no value.
func (t text) IsZero() bool { return t.s == "" }

// StorageMode is where pools lie.
type StorageMode struct{ text }

// The storage modes.
var (
	LocalMode      = StorageMode{text{"local"}}      // in a file of the node
	PVCPerNodeMode = StorageMode{text{"pvcPerNode"}} // on a PersistentVolume
)

// ParseStorageMode accepts the two.
func ParseStorageMode(s string) (StorageMode, error) {
	switch mode := (StorageMode{text{s}}); mode {
	case LocalMode, PVCPerNodeMode:
		return mode, nil
	}
	return StorageMode{}, refuse(s, "%q or %q", LocalMode, PVCPerNodeMode)
}

// PoolName is a pool's name, or in PVCPerNodeMode what their names begin with.
type PoolName struct{ text }

// maxPoolName leaves room below ZFS's 255 for what is added to it.
const maxPoolName = 64

// ParsePoolName accepts what zpool does, less the longest.
func ParsePoolName(s string) (PoolName, error) {
	if len(s) > maxPoolName || names.CheckPool(s) != nil {
		return PoolName{}, refuse(s, "a letter and up to %d letters, digits, \"_\", \"-\", \".\" or \":\", but not \"log\" nor what begins with \"mirror\", \"raidz\", \"draid\", \"spare\" or c0 to c9, which zpool reserves", maxPoolName-1)
	}
	return PoolName{text{s}}, nil
}

// HostPath is a directory of the nodes: absolute and clean, so that two of them
// are the same when they are equal.
type HostPath struct{ text }

// maxHostPath is plenty, and leaves room for what is added to it.
const maxHostPath = 255

// hostPathGrammar leaves out what means something on the way: "$" to Kubernetes
// in the arguments of a container, ":" and "," in mounts.
var hostPathGrammar = regexp.MustCompile(`^(/[A-Za-z0-9._@+-]+)+$`)

// ParseHostPath accepts "/var/lib/dotmesh" and the like, but not "/".
func ParseHostPath(s string) (HostPath, error) {
	switch clean := path.Clean(s); {
	case strings.Contains(s, "#HOSTNAME#"):
		return HostPath{}, refuse(s, "a path without #HOSTNAME#, which is not replaced any more: it is the same on every node")
	case len(s) > maxHostPath:
		return HostPath{}, refuse(s, "a path of at most %d characters", maxHostPath)
	case clean != s && hostPathGrammar.MatchString(clean):
		return HostPath{}, refuse(s, "a path without \"..\", \".\", \"//\" and a \"/\" at its end, such as %q", clean)
	case clean != s || !hostPathGrammar.MatchString(s):
		return HostPath{}, refuse(s, "an absolute path of letters, digits and . _ @ + -, not \"/\" itself")
	}
	return HostPath{text{s}}, nil
}

// taken is the directory of the pods that the path is in the way of.
func (p HostPath) taken() (string, bool) {
	for _, dir := range PodDirs() {
		if strings.HasPrefix(p.s+"/", dir+"/") || strings.HasPrefix(dir+"/", p.s+"/") {
			return dir, true
		}
	}
	return "", false
}

// PodDirs are the directories that containers of server and node service have from
// elsewhere: their mounts (package specs), those below /etc/dotmesh as one, and what the
// container runtime puts there. The pods have a HostPath of the configuration beside them,
// under its own name.
func PodDirs() []string {
	return []string{"/dev", "/etc/dotmesh", "/host", "/lib/modules", "/proc", "/run/dotmesh", "/secret", "/sys", "/tmp"}
}

// maxKubeletDir keeps the sockets below it within the 107 bytes that the kernel
// allows: the longest is /plugins_registry/dotmesh.csi-reg.sock.
const maxKubeletDir = 64

func parseKubeletDir(s string) (HostPath, error) {
	if dir, err := ParseHostPath(s); err != nil || len(s) <= maxKubeletDir {
		return dir, err
	}
	return HostPath{}, refuse(s, "a path of at most %d characters: the names of sockets below it would be too long", maxKubeletDir)
}

// StorageClass is the name of a StorageClass.
type StorageClass struct{ text }

// ourStorageClass is the one that dotmesh comes with.
const ourStorageClass = "dotmesh"

// ParseStorageClass accepts any object's name but that of dotmesh's own class.
func ParseStorageClass(s string) (StorageClass, error) {
	if s == ourStorageClass {
		return StorageClass{}, refuse(s, "another class: volumes of this one are made of the pools that are asked for here")
	}
	if len(validation.IsDNS1123Subdomain(s)) > 0 {
		return StorageClass{}, refuse(s, "the name of a StorageClass of this cluster (kubectl get storageclass)")
	}
	return StorageClass{text{s}}, nil
}

func parseVolumeMode(s string) (corev1.PersistentVolumeMode, error) {
	switch mode := corev1.PersistentVolumeMode(s); mode {
	case corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem:
		return mode, nil
	}
	return "", refuse(s, "%q or %q", corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
}

func volumeModeText(m corev1.PersistentVolumeMode) string { return string(m) }

// UpgradesURL is who is asked for newer versions. The zero value is nobody.
type UpgradesURL struct{ text }

// maxURL is what servers of the web accept at least.
const maxURL = 2000

// ParseUpgradesURL accepts http and https. What could hold a secret is refused,
// because a ConfigMap is no place for one.
func ParseUpgradesURL(s string) (UpgradesURL, error) {
	if s == "" {
		return UpgradesURL{}, nil
	}
	u, err := url.Parse(s)
	switch {
	case err == nil && u.User != nil:
		return UpgradesURL{}, refuse(u.Redacted(), "a URL without user and password")
	case err != nil, u.Scheme != "http" && u.Scheme != "https", !goodURLHost(u), u.Fragment != "", strings.ContainsAny(s, " #"), len(s) > maxURL:
		return UpgradesURL{}, refuse(s, "a URL such as https://upgrades.example.com/, without a fragment and of at most %d characters, or nothing so that nobody is asked", maxURL)
	}
	return UpgradesURL{text{s}}, nil
}

func goodURLHost(u *url.URL) bool {
	if _, err := dot.ParseHost(u.Hostname()); err != nil {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || (err == nil && port > 0)
}

// Replicas is how many copies a branch has, its master counted. The zero value
// is one on every server.
type Replicas struct{ count int }

const (
	allReplicas = "all"
	maxReplicas = 1000
)

// ParseReplicas accepts 1 to 1000 and "all".
func ParseReplicas(s string) (Replicas, error) {
	if s == allReplicas {
		return Replicas{}, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 1 || n > maxReplicas {
		return Replicas{}, refuse(s, "a whole number from 1 to %d, or %q for a copy on every server", maxReplicas, allReplicas)
	}
	return Replicas{int(n)}, nil
}

// String writes it as ParseReplicas reads it.
func (r Replicas) String() string {
	if r.count == 0 {
		return allReplicas
	}
	return strconv.Itoa(r.count)
}

const (
	minUpgradesInterval = 60
	maxUpgradesInterval = 365 * 24 * 60 * 60
)

func parseUpgradesInterval(s string) (time.Duration, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < minUpgradesInterval || n > maxUpgradesInterval {
		return 0, refuse(s, "a whole number of seconds from %d to %d", minUpgradesInterval, maxUpgradesInterval)
	}
	return time.Duration(n) * time.Second, nil
}

func wholeSeconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func parseSyncInterval(s string) (time.Duration, error) {
	return parseDuration(s, 5*time.Second, 24*time.Hour)
}

// parseFailoverAfter wants two minutes at least: the fence falls a minute before
// it, and the lease that the fence waits for lasts a quarter of one.
func parseFailoverAfter(s string) (time.Duration, error) {
	return parseDuration(s, 2*time.Minute, 24*time.Hour)
}

func parseDuration(s string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < least || d > most {
		return 0, refuse(s, "a time with its unit, such as 90s or 3m, from %s to %s", least, most)
	}
	return d, nil
}

func parseRecover(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, refuse(s, `"true", to have pools added to a registry that was lost, or "false"`)
}
