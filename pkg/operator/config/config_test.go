package config

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// parsed is what Parse makes of good data.
func parsed(t *testing.T, data map[string]string) Config {
	t.Helper()
	c, _, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refusal is what Parse or Change must have answered with.
func refusal(t *testing.T, err error) []Remark {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a *Refusal", err)
	}
	return r.Problems
}

func TestDefaults(t *testing.T) {
	c, warnings, err := Parse(nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("got %v, %v", warnings, err)
	}
	want := map[string]string{
		"nodeSelector": "", "upgradesUrl": "", "upgradesIntervalSeconds": "14400", "logAddress": "",
		"kubeletDir": "/var/lib/kubelet", "storageMode": "local", "poolName": "pool",
		"local.poolSizePerNode": "10Gi", "local.poolLocation": "/var/lib/dotmesh",
		"pvcPerNode.pvSizePerNode": "10Gi", "pvcPerNode.storageClass": "standard", "pvcPerNode.volumeMode": "Block",
		"replicas": "2", "syncInterval": "1m0s", "failoverAfter": "3m0s", "recover": "false",
	}
	if got := c.Data(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c.StorageMode != LocalMode || c.UpgradesInterval != 4*time.Hour || c.Local.PoolSize.Bytes() != 10<<30 || c.NodeSelector.Affinity() != nil {
		t.Errorf("got %+v", c)
	}
	if !c.LogAddress.IsZero() || !c.UpgradesURL.IsZero() {
		t.Errorf("got %v, %v, want neither", c.LogAddress, c.UpgradesURL)
	}
}

// TestShippedConfigMap has what people wrote for the flexvolume driver.
func TestShippedConfigMap(t *testing.T) {
	c, warnings, err := Parse(map[string]string{
		"nodeSelector":             "clusterSize-2",
		"upgradesUrl":              "https://checkpoint.dotmesh.com/",
		"upgradesIntervalSeconds":  "14400",
		"flexvolumeDriverDir":      "/home/kubernetes/flexvolume",
		"poolName":                 "pool",
		"logAddress":               "10.0.0.7",
		"storageMode":              "pvcPerNode",
		"local.poolSizePerNode":    "10G",
		"local.poolLocation":       "/var/lib/dotmesh\n",
		"pvcPerNode.pvSizePerNode": "10G",
		"pvcPerNode.storageClass":  "standard",
	})
	if err != nil || c.StorageMode != PVCPerNodeMode || c.LogAddress.String() != "udp://10.0.0.7:514" {
		t.Fatalf("got %+v, %v", c, err)
	}
	if len(warnings) != 1 || warnings[0].Key != "flexvolumeDriverDir" || !strings.Contains(warnings[0].Message, `kubeletDir (now "/var/lib/kubelet")`) {
		t.Errorf("got %v, want one warning that names kubeletDir", warnings)
	}
}

// TestEveryKey has good values and what is made of them, and bad ones and what
// their refusal must tell beside the key and the value.
func TestEveryKey(t *testing.T) {
	long := strings.Repeat("a", 400)
	for key, of := range map[string]struct {
		good, bad map[string]string
	}{
		"nodeSelector": {
			good: map[string]string{"": "", "disk=ssd": "disk=ssd", " zone in (b,a) , !old,disk": "!old,disk,zone in (a,b)", "x>3": "x>3"},
			bad:  map[string]string{"a in": "kubectl get nodes -l", "=b": "every node", "a=b c": "kubectl", "x>y": "integer", "a/b/c": "kubectl", long: "kubectl"},
		},
		"upgradesUrl": {
			good: map[string]string{"": "", "https://a.example/x?y=z": "https://a.example/x?y=z", "http://[fd00::1]:8080": "http://[fd00::1]:8080"},
			bad: map[string]string{"a.example": "https://", "ftp://a.example": "https://", "https://": "https://", "https://a.example/#x": "fragment", "https://a.example/#": "fragment",
				"https://a.example:0/": "https://", "https://a.example:99999/": "https://", "https://a .example": "https://", "https:a.example": "https://", "https://a.example/" + strings.Repeat("a", 2000): "2000"},
		},
		"upgradesIntervalSeconds": {
			good: map[string]string{"60": "60", "014400": "14400", "31536000": "31536000"},
			bad:  map[string]string{"": "14400", "59": "60", "-1": "seconds", "31536001": "31536000", "4h": "seconds", "1e3": "seconds", "99999999999999999999": "seconds"},
		},
		"logAddress": {
			good: map[string]string{"": "", "10.0.0.1": "udp://10.0.0.1:514", "Logs.example": "udp://logs.example:514", "fd00:0::1": "udp://[fd00::1]:514",
				"udp://logs:1514": "udp://logs:1514", "tcp://[fd00::1]:601": "tcp://[fd00::1]:601"},
			bad: map[string]string{"logs:514": "udp://host:port", "http://logs:80": "tcp://host:port", "udp://logs": "port", "tcp://:514": "host", "udp://logs:0": "port", "udp://logs:65536": "port",
				"udp://logs:514/": "port", "udp://fd00::1:514": "brackets", "10.0.0.300": "IP address", "0.0.0.0": "IP address", "fe80::1%eth0": "IP address", "a_b": "DNS name", "$(HOST)": "DNS name", "UDP://a:1": "udp://"},
		},
		"kubeletDir": {
			good: map[string]string{"/var/lib/kubelet": "/var/lib/kubelet", "/var/snap/microk8s/common/var/lib/kubelet": "/var/snap/microk8s/common/var/lib/kubelet"},
			bad:  map[string]string{"": "absolute", "kubelet": "absolute", "/": "absolute", "/" + strings.Repeat("k", 64): "64", "/host": "/host", "/dev/kubelet": "/dev", "/run": "/run/dotmesh"},
		},
		"storageMode": {
			good: map[string]string{"local": "local", "pvcPerNode": "pvcPerNode"},
			bad:  map[string]string{"": `"local" or "pvcPerNode"`, "Local": `"local"`, "pvc": `"pvcPerNode"`},
		},
		"poolName": {
			good: map[string]string{"tank": "tank", "A-b_c.d:1": "A-b_c.d:1", "logs": "logs", "cat": "cat"},
			bad:  map[string]string{"": "letter", "1a": "letter", "a b": "letter", "a/b": "letter", "a@b": "letter", "mirror1": "reserves", "draid": "reserves", "log": "reserves", "c0d0": "reserves", strings.Repeat("p", 65): "63", "ä": "letter", "-a": "letter"},
		},
		"local.poolSizePerNode":    sizes,
		"pvcPerNode.pvSizePerNode": sizes,
		"local.poolLocation": {
			good: map[string]string{"/var/lib/dotmesh": "/var/lib/dotmesh", "/mnt/disk-1/a.b@c+d": "/mnt/disk-1/a.b@c+d", "/...": "/...", "/devices": "/devices", "/run/dotmesh2": "/run/dotmesh2"},
			bad: map[string]string{"": "absolute", "/": "absolute", "var/lib": "absolute", "/a/../b": `"/b"`, "/a/": `"/a"`, "/a//b": `"/a/b"`, "/a/./b": `"/a/b"`, "../a": "absolute", "/a b": "letters",
				"/a:b": "letters", "/$(X)": "letters", "/a\x00b": "letters", "/a/#HOSTNAME#": "every node", "/" + long: "255",
				"/tmp": "above", "/tmp/pools": "not /tmp", "/etc": "not /etc/dotmesh,", "/etc/dotmesh": "not /etc/dotmesh,", "/etc/dotmesh/pools": "in it", "/lib": "not /lib/modules", "/secret": "not /secret", "/proc/1": "not /proc"},
		},
		"pvcPerNode.storageClass": {
			good: map[string]string{"standard": "standard", "managed-csi.v2": "managed-csi.v2"},
			bad:  map[string]string{"": "kubectl get storageclass", "Fast": "kubectl", "dotmesh": "another class", "a/b": "kubectl", long: "kubectl"},
		},
		"pvcPerNode.volumeMode": {
			good: map[string]string{"Block": "Block", "Filesystem": "Filesystem"},
			bad:  map[string]string{"": `"Block" or "Filesystem"`, "block": `"Block"`},
		},
		"replicas": {
			good: map[string]string{"1": "1", "3": "3", "1000": "1000", "all": "all"},
			bad:  map[string]string{"": "1 to 1000", "0": `"all"`, "-1": "1 to 1000", "1001": "1 to 1000", "2.0": "whole", "All": `"all"`},
		},
		"syncInterval": {
			good: map[string]string{"5s": "5s", "1.5m": "1m30s", "24h": "24h0m0s"},
			bad:  map[string]string{"": "unit", "30": "unit", "4.9s": "from 5s", "25h": "to 24h", "-1m": "from 5s", "9999999999h": "unit"},
		},
		"recover": {
			good: map[string]string{"true": "true", "false": "false"},
			bad:  map[string]string{"": `"true"`, "True": `"false"`, "yes": "was lost", "1": `"true"`},
		},
		"failoverAfter": {
			good: map[string]string{"120s": "2m0s", "10m": "10m0s"},
			bad:  map[string]string{"": "unit", "180": "unit", "119s": "from 2m0s", "25h": "to 24h", "never": "unit"},
		},
	} {
		for value, want := range of.good {
			c, warnings, err := Parse(map[string]string{key: value})
			if err != nil || len(warnings) > 0 || c.Data()[key] != want {
				t.Errorf("%s: %q: got %q, %v, %v, want %q", key, value, c.Data()[key], warnings, err, want)
			}
		}
		for value, want := range of.bad {
			c, _, err := Parse(map[string]string{key: value})
			problems := refusal(t, err)
			if len(problems) != 1 || problems[0].Key != key || !reflect.DeepEqual(c, Config{}) {
				t.Errorf("%s: %q: got %v, %v, want one problem with that key", key, value, c, problems)
				continue
			}
			text := problems[0].Message
			if !strings.HasPrefix(text, quotedStart(value)) || !strings.Contains(text, want) {
				t.Errorf("%s: %q: got %s, want the value and %q", key, value, text, want)
			}
			if len(text) > 600 {
				t.Errorf("%s: a message of %d bytes", key, len(text))
			}
		}
	}
}

// sizes are those of both pools.
var sizes = struct{ good, bad map[string]string }{
	good: map[string]string{"10G": "10Gi", "10Gi": "10Gi", "256M": "256Mi", "1.5T": "1536Gi", "1E": "1024Pi"},
	bad:  map[string]string{"": "10 × 1024³", "255M": "256Mi or more", "0": "1024³", "-1G": "1024³", "10X": "1024³", "8E": "8E", "ten": "10Gi"},
}

// quotedStart is how a message on a value begins.
func quotedStart(value string) string {
	if len(value) > maxShown {
		return `"` + value[:maxShown]
	}
	return refuse(value, "").Error()[:len(value)+2]
}

func TestEveryKeyHasItsTest(t *testing.T) {
	want := slices.Sorted(slices.Values([]string{"nodeSelector", "upgradesUrl", "upgradesIntervalSeconds", "flexvolumeDriverDir", "poolName", "logAddress", "storageMode",
		"local.poolSizePerNode", "local.poolLocation", "pvcPerNode.pvSizePerNode", "pvcPerNode.storageClass", "pvcPerNode.volumeMode", "kubeletDir", "replicas", "syncInterval", "failoverAfter", "recover"}))
	if got := slices.Sorted(slices.Values(knownKeys())); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUserInURLIsNotShown(t *testing.T) {
	_, _, err := Parse(map[string]string{"upgradesUrl": "https://me:hunter2@a.example/"})
	if text := refusal(t, err)[0].Message; strings.Contains(text, "hunter2") || !strings.Contains(text, "without user and password") {
		t.Errorf("got %s", text)
	}
}

func TestEveryProblemIsTold(t *testing.T) {
	_, warnings, err := Parse(map[string]string{
		"replicas": "0", "storageMode": "both", "kubeletDir": "x", "flexvolumeDriverDir": "", "poolLocation": "/a", "Replicas": "2", "local.poolSizePerNode": "1K",
	})
	var keys []string
	for _, p := range refusal(t, err) {
		keys = append(keys, p.Key)
		if !strings.Contains(err.Error(), p.String()) {
			t.Errorf("%q does not tell %q", err, p)
		}
	}
	if want := []string{"kubeletDir", "storageMode", "local.poolSizePerNode", "replicas", "Replicas", "poolLocation"}; !slices.Equal(keys, want) {
		t.Errorf("got %v, want %v", keys, want)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Message, "kubeletDir") || strings.Contains(warnings[0].Message, "now") {
		t.Errorf("got %v, want the warning, which knows no kubeletDir", warnings)
	}
}

func TestUnknownKeys(t *testing.T) {
	const all = "use failoverAfter, flexvolumeDriverDir, kubeletDir, local.poolLocation, "
	for key, want := range map[string]string{
		"poolLocation":           "did you mean local.poolLocation?",
		"local.poolsize":         "did you mean local.poolSizePerNode?",
		"pvcPerNode.pvSize":      "did you mean pvcPerNode.pvSizePerNode?",
		"storageclass":           "did you mean pvcPerNode.storageClass?",
		"local.storageMode":      "did you mean storageMode?",
		"nodeselector":           "did you mean nodeSelector?",
		"upgradesURL":            "did you mean upgradesUrl?",
		"replica":                "did you mean replicas?",
		"failOverAfterr":         "did you mean failoverAfter?",
		"poolNamePrefix":         "use poolName",
		"kernel.zfsVersion":      "remove the key",
		"x":                      all,
		"":                       all,
		"releaseAfter":           all,
		strings.Repeat("x", 253): all,
	} {
		_, _, err := Parse(map[string]string{key: "10G"})
		problems := refusal(t, err)
		if len(problems) != 1 || !strings.HasPrefix(key, strings.TrimSuffix(problems[0].Key, "…")) || !strings.Contains(problems[0].Message, want) {
			t.Errorf("%q: got %v, want %q", key, problems, want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"flaw", "lawn", 2}} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// TestMessagesAreUTF8: the API server would change one that is not, so that it never was
// what is to be written.
func TestMessagesAreUTF8(t *testing.T) {
	for shift := range 4 {
		long := strings.Repeat("a", shift) + strings.Repeat("ä", 300)
		for _, data := range []map[string]string{{"nodeSelector": long}, {"nodeSelector": "a in (" + long}, {"poolName": long}, {long: ""}} {
			_, _, err := Parse(data)
			for _, p := range refusal(t, err) {
				if !utf8.ValidString(p.String()) {
					t.Errorf("%.20q: got %q", data, p)
				}
			}
		}
	}
}
