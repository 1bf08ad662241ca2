package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestChangeOfEveryKey has a key, its change, and what that does without pools
// and while there are some.
func TestChangeOfEveryKey(t *testing.T) {
	const refused = Effect(-1)
	for _, c := range []struct {
		key, from, to  string
		without, while Effect
	}{
		{"storageMode", "local", "pvcPerNode", Anew, refused},
		{"storageMode", "pvcPerNode", "local", Anew, refused},
		{"poolName", "pool", "tank", Anew, refused},
		{"local.poolLocation", "/var/lib/dotmesh", "/mnt", Anew, refused},
		{"pvcPerNode.storageClass", "standard", "fast", NewPVCs, NewPVCs},
		{"pvcPerNode.volumeMode", "Block", "Filesystem", NewPVCs, NewPVCs},
		{"local.poolSizePerNode", "10G", "11G", Grow, Grow},
		{"local.poolSizePerNode", "10G", "9G", Anew, refused},
		{"pvcPerNode.pvSizePerNode", "10G", "10241Mi", Grow, Grow},
		{"pvcPerNode.pvSizePerNode", "10Gi", "10e9", Anew, refused},
		{"kubeletDir", "/var/lib/kubelet", "/data/kubelet", Rolling, Rolling},
		{"nodeSelector", "", "disk=ssd", AtOnce, AtOnce},
		{"upgradesUrl", "", "https://a.example/", AtOnce, AtOnce},
		{"upgradesIntervalSeconds", "14400", "3600", AtOnce, AtOnce},
		{"logAddress", "", "tcp://logs:601", AtOnce, AtOnce},
		{"replicas", "2", "all", AtOnce, AtOnce},
		{"syncInterval", "60s", "30s", AtOnce, AtOnce},
		{"failoverAfter", "180s", "10m", AtOnce, AtOnce},
		{"recover", "false", "true", AtOnce, AtOnce},
		{"recover", "true", "false", AtOnce, AtOnce},
	} {
		from, to := parsed(t, map[string]string{c.key: c.from}), parsed(t, map[string]string{c.key: c.to})
		for pools, want := range map[bool]Effect{false: c.without, true: c.while} {
			plan, err := from.Change(to, Pools{Exist: pools, Local: from.Local.PoolSize.Bytes(), PVC: from.PVCPerNode.PVSize.Bytes()})
			if want == refused {
				problems := refusal(t, err)
				if len(problems) != 1 || problems[0].Key != c.key || plan != nil {
					t.Errorf("%s, pools %v: got %v, %v, want a refusal", c.key, pools, plan, problems)
					continue
				}
				for _, part := range []string{from.Data()[c.key], to.Data()[c.key], "while pools exist", "make a new cluster", "pull the dots across"} {
					if !strings.Contains(problems[0].Message, part) {
						t.Errorf("%s: %q does not tell %q", c.key, problems[0], part)
					}
				}
				continue
			}
			if wanted := (Plan{{c.key, from.Data()[c.key], to.Data()[c.key], want}}); err != nil || !slices.Equal(plan, wanted) {
				t.Errorf("%s, pools %v: got %v, %v, want %v", c.key, pools, plan, err, wanted)
			}
		}
	}
}

func TestEveryKeyHasAnEffect(t *testing.T) {
	from := Config{}
	plan, err := from.Change(parsed(t, map[string]string{"nodeSelector": "a", "upgradesUrl": "http://a", "logAddress": "a", "recover": "true"}), Pools{})
	if err != nil || len(plan) != len(settings()) {
		t.Fatalf("got %v, %v, want a change of each key", plan, err)
	}
	for _, c := range plan {
		if strings.Contains(c.String(), "Effect(") || !strings.HasPrefix(c.String(), c.Key+": ") {
			t.Errorf("got %q", c)
		}
	}
	if got := Effect(7).String(); got != "Effect(7)" {
		t.Errorf("got %q", got)
	}
}

// TestSpelling shows that no change is seen where only the spelling is another.
func TestSpelling(t *testing.T) {
	a := parsed(t, map[string]string{"local.poolSizePerNode": "10G", "nodeSelector": "b in (y,x),a", "failoverAfter": "180s", "logAddress": "Logs", "flexvolumeDriverDir": "/x"})
	b := parsed(t, map[string]string{"local.poolSizePerNode": "10240MiB", "nodeSelector": "a, b in (x,y)", "failoverAfter": "3m\n", "logAddress": "udp://logs:514"})
	if plan, err := a.Change(b, Pools{Exist: true}); err != nil || len(plan) > 0 {
		t.Errorf("got %v, %v, want no change", plan, err)
	}
}

// TestSizesGoBack: a size that no pool has reached was a typing error, and can be mended.
func TestSizesGoBack(t *testing.T) {
	const gib = 1 << 30
	for key, pools := range map[string]func(bytes int64) Pools{
		"local.poolSizePerNode":    func(bytes int64) Pools { return Pools{Exist: true, Local: bytes, PVC: 1 << 50} },
		"pvcPerNode.pvSizePerNode": func(bytes int64) Pools { return Pools{Exist: true, PVC: bytes, Local: 1 << 50} },
	} {
		from, to := parsed(t, map[string]string{key: "100T"}), parsed(t, map[string]string{key: "100G"})
		for _, reached := range []int64{0, 99 * gib, 100 * gib} {
			if plan, err := from.Change(to, pools(reached)); err != nil || len(plan) != 1 || plan[0].Effect != Anew {
				t.Errorf("%s, reached %d: got %v, %v", key, reached, plan, err)
			}
		}
		_, err := from.Change(to, pools(101*gib))
		if problems := refusal(t, err); len(problems) != 1 || !strings.Contains(problems[0].Message, "108447924224 bytes") {
			t.Errorf("%s: got %v, want a refusal that tells what there is", key, problems)
		}
	}
}

// TestNothingIsHalfTaken has good changes beside two that are refused.
func TestNothingIsHalfTaken(t *testing.T) {
	from := parsed(t, map[string]string{"replicas": "2", "poolName": "pool", "local.poolSizePerNode": "10G"})
	before := from.Data()
	to := parsed(t, map[string]string{"replicas": "3", "poolName": "tank", "local.poolSizePerNode": "9G", "kubeletDir": "/k"})
	plan, err := from.Change(to, Pools{Exist: true, Local: 10 << 30})
	var keys []string
	for _, p := range refusal(t, err) {
		keys = append(keys, p.Key)
	}
	if plan != nil || !slices.Equal(keys, []string{"poolName", "local.poolSizePerNode"}) {
		t.Errorf("got %v, %v, want a refusal of both and no plan", plan, keys)
	}
	if !reflect.DeepEqual(from.Data(), before) {
		t.Errorf("got %v, want %v", from.Data(), before)
	}
	if plan, err := from.Change(to, Pools{}); err != nil || len(plan) != 4 {
		t.Errorf("without pools: got %v, %v, want four changes", plan, err)
	}
}

// TestPathOfBefore: what was in force before it was refused holds on, and is not changed
// to.
func TestPathOfBefore(t *testing.T) {
	read := func(location string) Config {
		t.Helper()
		c, _, err := ParseKept(map[string]string{keyPoolLocation: location})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before, good := read("/run/dotmesh/pools"), read("/mnt")
	if got := before.Outdated(); len(got) != 1 || got[0].Key != keyPoolLocation {
		t.Errorf("it is told of as %v", got)
	}
	if got := good.Outdated(); len(got) != 0 {
		t.Errorf("a good one is told of as %v", got)
	}
	next := before
	next.Recover = true
	for what, c := range map[string]struct {
		from, to Config
		taken    bool
	}{"as it was": {before, next, true}, "away from it": {before, good, true}, "to it": {good, before, false}} {
		if _, err := c.from.Change(c.to, Pools{}); (err == nil) != c.taken {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if _, _, err := Parse(before.Data()); err == nil {
		t.Error("it is taken at first")
	}
}
