package config

import (
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
)

// dataOf has a key and its value on each line, "key=value".
func dataOf(lines string) map[string]string {
	data := map[string]string{}
	for line := range strings.SplitSeq(lines, "\n") {
		if key, value, ok := strings.Cut(line, "="); ok {
			data[key] = value
		}
	}
	return data
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "=", "nodeSelector=a in (b,c),!d,e>4,f!=\nreplicas=all",
		"storageMode=pvcPerNode\npvcPerNode.storageClass=fast\npvcPerNode.pvSizePerNode=1.5Ti\npvcPerNode.volumeMode=Filesystem",
		"poolName=tank\nlocal.poolLocation=/mnt/a\nlocal.poolSizePerNode=256M\nkubeletDir=/k\nflexvolumeDriverDir=/x",
		"upgradesUrl=https://[::1]:1/a?b\nupgradesIntervalSeconds=60\nlogAddress=tcp://a:1\nsyncInterval=1h2m\nfailoverAfter=120s",
		"logAddress=fd00::1", "logAddress=udp://[::ffff:1.2.3.4]:514", "local.poolLocation=/a/../b", "poollocation=/a",
	} {
		f.Add(s)
	}
	defaults, _, err := Parse(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		c, _, err := Parse(dataOf(lines))
		if err != nil {
			for _, p := range refusal(t, err) {
				if p.Message == "" || !strings.Contains(lines, strings.TrimSuffix(p.Key, "…")) {
					t.Errorf("%q: got the problem %q", lines, p)
				}
			}
			return
		}
		again, warnings, err := Parse(c.Data())
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(again, c) {
			t.Fatalf("%q: got %+v, then %+v, %v, %v", lines, c, again, warnings, err)
		}
		if plan, err := c.Change(again, Pools{Exist: true}); err != nil || len(plan) > 0 {
			t.Errorf("%q: got %v, %v from itself to itself", lines, plan, err)
		}
		if err := samePool(c.PoolName); err != nil {
			t.Errorf("%q: %v", lines, err)
		}
		for _, pools := range []bool{false, true} {
			plan, err := defaults.Change(c, Pools{Exist: pools, Local: 10 << 30, PVC: 10 << 30})
			if err != nil && (plan != nil || !pools || len(refusal(t, err)) == 0) {
				t.Errorf("%q, pools %v: got %v, %v", lines, pools, plan, err)
			}
		}
	})
}

// FuzzSize holds ParseSize to what Kubernetes reads where both mean the same: in
// binary units, and in what Size.String gives.
func FuzzSize(f *testing.F) {
	for _, s := range []string{"10G", "10Gi", "512MiB", "1.5Ki", ".5Ei", "10e9", "1E10", "0", "-1Gi", "8191P", "iB", "9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		size, err := ParseSize(s)
		if err != nil {
			return
		}
		if again, err := ParseSize(size.String()); size.Bytes() <= 0 || err != nil || again != size {
			t.Errorf("%q: got %d, then %d from %s, %v", s, size.Bytes(), again.Bytes(), size, err)
		}
		for _, spelling := range []string{size.String(), s} {
			if spelling == s && !strings.HasSuffix(s, "i") {
				continue
			}
			q, err := resource.ParseQuantity(spelling)
			if got := q.Value(); err == nil && got != size.Bytes() {
				t.Errorf("%q: got %d, Kubernetes reads %d from %s", s, size.Bytes(), got, spelling)
			}
		}
	})
}

// FuzzNodeSelector holds what is made of a selector to what kubectl reads in it,
// for a node with the labels a=value and b=5.
func FuzzNodeSelector(f *testing.F) {
	for _, s := range []string{"", "a", "!a", "a=b", "a==b,b!=5", "a in (b,,c)", "a notin ()", "b>4,b<6", "in in (in)", "notin", "a=b,", "a,a,a", "x.io/a=b\t"} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, s, value string) {
		n, err := ParseNodeSelector(s)
		theirs, refused := labels.Parse(s)
		if (err == nil) != (refused == nil) {
			t.Fatalf("%q: got %v, kubectl %v", s, err, refused)
		}
		if err != nil {
			return
		}
		node := map[string]string{"a": value, "b": "5"}
		if n.Matches(node) != theirs.Matches(labels.Set(node)) {
			t.Errorf("%q: got %v for %v", s, n.Matches(node), node)
		}
		again, err := ParseNodeSelector(n.String())
		if err != nil || !reflect.DeepEqual(again.Affinity(), n.Affinity()) || again.String() != n.String() {
			t.Errorf("%q: got %q, then %q, %v", s, n, again, err)
		}
		if (n.Affinity() == nil) != theirs.Empty() {
			t.Errorf("%q: got %v", s, n.Affinity())
		}
	})
}
