package specs

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 40) + "." + strings.Repeat("b", 40) + ".example.com"
	for name, c := range map[string]struct{ got, want string }{
		"local":               {LocalServerName("node-1"), "server-node-1"},
		"local, a dot":        {LocalServerName("ip-10-0-0-1.ec2.internal"), "server-ip-10-0-0-1.ec2.internal"},
		"server":              {ServerName("pvc-0123456789abcdef", "n1"), "server-pvc-0123456789abcdef-node-n1"},
		"a node of that name": {ServerName("pvc-0123456789abcdef", "node-1"), "server-pvc-0123456789abcdef-node-node-1"},
		"holder":              {HolderName("pvc-0123456789abcdef", "n1"), "holder-pvc-0123456789abcdef-node-n1"},
		"label":               {LabelValue("n1"), "n1"},
		"as long as may be":   {LocalServerName(strings.Repeat("x", 56)), "server-" + strings.Repeat("x", 56)},
		"one more":            {LocalServerName(strings.Repeat("x", 57)), "server-" + strings.Repeat("x", 45) + "-2bbd575281"},
		"cut at a dot":        {LocalServerName(strings.Repeat("x", 44) + ".long.example.com"), "server-" + strings.Repeat("x", 44) + "--f5b9636d42"},
		"long":                {LabelValue(long), long[:52] + "-" + digest(long, 10)},
		"a PVC made by hand":  {ServerName("mine", "n1"), "server-mine-node-n1"},
		"a PVC named as both": {ServerName("a-node-b", "c"), "server-" + digest("a-node-b/c", 16)},
		"pool":                {PoolName("pool", "1b4e28ba-2fa1-11d2-883f-0016d3cca427"), "pool-1b4e28ba"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
}

// Pods of different PVCs or nodes never have one name, whatever those are called,
// and every name is one that Kubernetes accepts.
func TestNamesNeverClash(t *testing.T) {
	words := []string{
		"pvc-0123456789abcdef", "pvc-0123456789abcdef-node", "pvc-0123456789abcdef-node-a", "node-1",
		"a", "b", "a-node-b", "b-node-c", "node", "a-node", "node-b", "c",
		strings.Repeat("n", 33), strings.Repeat("n", 34), strings.Repeat("n", 35), strings.Repeat("n", 60) + ".a", strings.Repeat("n", 60) + ".b",
		strings.Repeat("m", 40) + ".x", strings.Repeat("m", 44) + ".y", strings.Repeat("m", 200),
	}
	for _, w := range words { // what a shortened name looks like is a name too
		words = append(words, strings.TrimPrefix(LocalServerName(w), "server-"))
	}
	made := map[string]string{}
	meet := func(name, what string) {
		t.Helper()
		if other, found := made[name]; found && other != what {
			t.Errorf("%s and %s are both called %q", what, other, name)
		}
		made[name] = what
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 || len(name) > 63 {
			t.Errorf("%s is called %q: %v", what, name, problems)
		}
	}
	for _, pvc := range words {
		for _, node := range words {
			meet(ServerName(pvc, node), "server of "+pvc+" on "+node)
			meet(HolderName(pvc, node), "holder of "+pvc+" on "+node)
		}
	}
	made = map[string]string{}
	for _, node := range words {
		meet(LocalServerName(node), "server on "+node)
	}
}

func TestPVCNameIsTheSameForTheSameNode(t *testing.T) {
	first := PVCName("n1", "uid", 0)
	if first != PVCName("n1", "uid", 0) {
		t.Error("two operators would make two PVCs")
	}
	for _, other := range []string{PVCName("n1", "uid", 1), PVCName("n1", "uid2", 0), PVCName("n2", "uid", 0)} {
		if other == first {
			t.Errorf("%q twice", other)
		}
	}
	if len(first) != len("pvc-0123456789abcdef") {
		t.Errorf("%q", first)
	}
}
