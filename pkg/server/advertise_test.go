package server

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestWhereOthersReachAServer(t *testing.T) {
	for _, c := range []struct {
		advertise, listen, want string // "" with something advertised: refused
	}{
		{"", ":32607", ""},
		{"10.0.0.7", ":32607", "10.0.0.7:32607"},
		{"10.0.0.7:1", ":32607", "10.0.0.7:1"},
		{"fd00::7", ":32607", "[fd00::7]:32607"},
		{"[fd00::7]", ":32607", "[fd00::7]:32607"},
		{"[fd00::7]:1", ":32607", "[fd00::7]:1"},
		{"host.example.org", "10.0.0.7:1", "host.example.org:1"},
		{"10.0.0.7:", ":32607", ""},
		{"10.0.0.7", ":0", ""},
	} {
		cfg := Config{
			NodeName: "n", Pool: PoolConfig{Root: "pool"}, Etcd: EtcdConfig{Endpoints: []string{"x"}}, Listen: c.listen,
			TLSCert: "c", TLSKey: "k", ClientCA: "ca", PeerName: "p", SecretDir: "s", RunDir: "/r", Advertise: c.advertise,
		}
		err := cfg.Validate()
		switch refused := c.advertise != "" && c.want == ""; {
		case refused != (err != nil) || refused && dot.CodeOf(err) != dot.CodeInvalid:
			t.Errorf("%q: got %v", c.advertise, err)
		case !refused && cfg.advertised() != c.want:
			t.Errorf("%q: got %q, want %q", c.advertise, cfg.advertised(), c.want)
		}
		if cfg.PeerName = ""; c.want != "" && cfg.Validate() == nil {
			t.Errorf("%q: no name for other servers' certificates was accepted", c.advertise)
		}
	}
}
