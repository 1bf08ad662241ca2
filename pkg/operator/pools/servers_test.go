package pools

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	corev1 "k8s.io/api/core/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// secretReader has one Secret.
type secretReader struct {
	kube.Reader
	secret corev1.Secret
}

func (r *secretReader) Get(_ context.Context, _ kube.ObjectKey, o kube.Object, _ ...kube.GetOption) error {
	r.secret.DeepCopyInto(o.(*corev1.Secret))
	return nil
}

func (r *secretReader) set(version string, ca *pki.CA, pair pki.Pair) {
	r.secret.ResourceVersion = version
	r.secret.Data = map[string][]byte{pki.CAFile: ca.CertPEM(), pki.CertFile: pair.Cert, pki.KeyFile: pair.Key}
}

type fakeServer struct {
	dotmeshv1connect.UnimplementedServerServiceHandler
}

func (fakeServer) GetStatus(context.Context, *connect.Request[v1.GetStatusRequest]) (*connect.Response[v1.GetStatusResponse], error) {
	return connect.NewResponse(&v1.GetStatusResponse{
		PoolId: "guid", Health: "ONLINE", Writes: true, Generation: 3, InUse: true, Users: []string{"pod a/b"}, WantedPools: []string{"other"}, Version: "v1",
		Conditions: []*v1.Condition{{Type: "Ready", Reason: "Starting", Message: "wait"}},
	}), nil
}

func (fakeServer) Release(_ context.Context, req *connect.Request[v1.ReleaseRequest]) (*connect.Response[v1.ReleaseResponse], error) {
	return connect.NewResponse(&v1.ReleaseResponse{Released: req.Msg.Generation == 3, Reason: "in use", Holders: []string{"pod a/b"}}), nil
}

// TestAPI calls a server that believes only the operator's certificates, which change
// meanwhile.
func TestAPI(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	address := serveTLS(t, ca)
	secrets := &secretReader{}
	api := NewAPI(secrets, kube.ObjectKey{Namespace: "dotmesh", Name: pki.SecretOperatorClient}, "dotmesh.dotmesh.svc")

	if _, err := api.Status(t.Context(), address); err == nil || !strings.Contains(err.Error(), pki.SecretOperatorClient) {
		t.Errorf("without a certificate: %v", err)
	}
	secrets.set("1", other, issue(t, other, pki.RoleOperator))
	if _, err := api.Status(t.Context(), address); err == nil {
		t.Error("a server of another CA was believed")
	}
	secrets.set("2", ca, issue(t, ca, pki.RoleServer))
	if _, err := api.Status(t.Context(), address); err == nil {
		t.Error("the server believed a certificate of another role: this test shows nothing")
	}
	secrets.set("3", ca, issue(t, ca, pki.RoleOperator))
	got, err := api.Status(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if got.Pool != "guid" || got.Health != plan.HealthOnline || got.Generation != 3 || !got.InUse || got.Released || got.Version != "v1" ||
		!slices.Equal(got.Users, []string{"pod a/b"}) || !slices.Equal(got.WantedPools, []string{"other"}) ||
		!slices.Equal(got.Conditions, []Condition{{Type: "Ready", Reason: "Starting", Message: "wait"}}) {
		t.Errorf("got %+v", got)
	}
	for generation, want := range map[uint64]bool{2: false, 3: true} {
		if answer, err := api.Release(t.Context(), address, generation); err != nil || answer.Released != want {
			t.Errorf("release of generation %d: %+v, %v", generation, answer, err)
		}
	}
}

func TestAPoolThatDoesNotWriteIsNotOnline(t *testing.T) {
	if got := statusOf(&v1.GetStatusResponse{Health: "ONLINE"}); got.Health == plan.HealthOnline {
		t.Error("a pool that writes nothing counts as well")
	}
}

func newCA(t *testing.T) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *pki.CA, role pki.Role) pki.Pair {
	t.Helper()
	pair, err := ca.IssueClient("test", role, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func serveTLS(t *testing.T, ca *pki.CA) (address string) {
	t.Helper()
	pair, err := ca.IssueServer(pki.Names{DNS: []string{"dotmesh.dotmesh.svc"}}, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := pki.Files{CA: filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	for path, content := range map[string][]byte{files.CA: ca.CertPEM(), files.Cert: pair.Cert, files.Key: pair.Key} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle(dotmeshv1connect.NewServerServiceHandler(fakeServer{}))
	server := httptest.NewUnstartedServer(mux)
	if server.TLS, err = files.ServerConfig(pki.RoleOperator); err != nil {
		t.Fatal(err)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
