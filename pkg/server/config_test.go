package server

import (
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
)

const aClaim = "11111111-2222-4333-8444-555555555555"

func TestPoolConfig(t *testing.T) {
	for name, c := range map[string]struct {
		pool PoolConfig
		want string // "": accepted
	}{
		"file":                      {PoolConfig{Name: "tank", Location: "/var/lib/dotmesh", SizeBytes: pool.MinSize}, ""},
		"file as large as its room": {PoolConfig{Name: "tank", Location: "/backend"}, ""},
		"device":                    {PoolConfig{Name: "tank", Device: "/dev/pool"}, ""},
		"a claim's device":          {PoolConfig{Name: "tank", Device: "/dev/pool", Multihost: true, Claim: aClaim, Generation: 3, TakeOver: true}, ""},
		"root":                      {PoolConfig{Root: "tank/dots"}, ""},
		"no name":                   {PoolConfig{Location: "/var/lib/dotmesh"}, "--pool-name"},
		"relative location":         {PoolConfig{Name: "tank", Location: "pools"}, "--pool-location"},
		"too small":                 {PoolConfig{Name: "tank", Location: "/backend", SizeBytes: pool.MinSize - 1}, "--pool-size"},
		"relative device":           {PoolConfig{Name: "tank", Device: "sdb"}, "--pool-device"},
		"a device's size":           {PoolConfig{Name: "tank", Device: "/dev/pool", SizeBytes: pool.MinSize}, "--pool-size"},
		"root and device":           {PoolConfig{Root: "tank", Device: "/dev/pool"}, "--root"},
		"root and claim":            {PoolConfig{Root: "tank", Claim: aClaim, Generation: 1}, "--root"},
		"claim without generation":  {PoolConfig{Name: "tank", Device: "/dev/pool", Claim: aClaim}, "--pool-generation"},
		"generation without claim":  {PoolConfig{Name: "tank", Device: "/dev/pool", Generation: 1}, "--pool-claim"},
		"take over without claim":   {PoolConfig{Name: "tank", Device: "/dev/pool", TakeOver: true}, "--pool-claim"},
		"claim that is no UID":      {PoolConfig{Name: "tank", Device: "/dev/pool", Claim: "pvc-1", Generation: 1}, "UUID"},
	} {
		err := c.pool.validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: got %v", name, err)
		case c.want != "" && (dot.CodeOf(err) != dot.CodeInvalid || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want a refusal that names %s", name, err, c.want)
		}
	}
}
