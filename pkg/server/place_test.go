package server

import (
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestWhereANewDotMayBePlaced(t *testing.T) {
	pool := func(id uint64, node string, alive bool) standing {
		return standing{dot.Pool{ID: dot.PoolIDOf(id), Node: node}, alive}
	}
	three := []standing{pool(1, "a", true), pool(2, "b", true), pool(3, "c", false)}
	for _, c := range []struct {
		what      string
		pools     []standing
		preferred []string
		want      string // the pools' ids
		code      dot.Code
		says      string
	}{
		{what: "the node that the scheduler chose", pools: three, preferred: []string{"b"}, want: "2"},
		{what: "the first of several", pools: three, preferred: []string{"b", "a"}, want: "2"},
		{what: "the first that is served", pools: three, preferred: []string{"c", "a"}, want: "1"},
		{what: "the first that has a pool", pools: three, preferred: []string{"x", "b"}, want: "2"},
		{what: "both pools of the node", pools: append(three, pool(4, "a", true)), preferred: []string{"a"}, want: "1 4"},
		{what: "the pool of the node that is served", pools: append(three, pool(4, "c", true)), preferred: []string{"c"}, want: "4"},
		{what: "no node: every pool that is served", pools: three, want: "1 2"},
		{what: "the chosen node's server is away", pools: three, preferred: []string{"c"}, code: dot.CodeUnavailable, says: "the server of pool 3 on node c is away"},
		{what: "the chosen node has no pool", pools: three, preferred: []string{"x"}, code: dot.CodeExhausted, says: "node x"},
		{what: "nobody serves", pools: three[2:], code: dot.CodeUnavailable, says: "lease"},
	} {
		got, err := candidates(c.pools, c.preferred)
		var ids []string
		for _, p := range got {
			ids = append(ids, p.ID.String())
		}
		if strings.Join(ids, " ") != c.want || c.says != "" && (err == nil || dot.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says)) || c.says == "" && err != nil {
			t.Errorf("%s: got %v, %v, want %q, %q", c.what, ids, err, c.want, c.says)
		}
	}
}
