package apiserver

import (
	"crypto/rand"
	"net"
	"os"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// auditPolicy keeps who did what to which kind of object, once per request.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules: [{level: Metadata}]
`

// credentials writes what the API server is started with, and gives an
// administrator's way to it.
func (s *Server) credentials(port int) (*rest.Config, error) {
	now := time.Now()
	ca, err := pki.NewCA("apiserver", now)
	if err != nil {
		return nil, err
	}
	pair, err := ca.IssueServer(pki.Names{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, pki.LeafValidity, now)
	if err != nil {
		return nil, err
	}
	token := rand.Text()
	for name, content := range map[string]string{
		"tls.crt":    string(pair.Cert),
		"tls.key":    string(pair.Key),
		"tokens.csv": token + ",admin,admin,system:masters\n",
		"audit.yaml": auditPolicy,
	} {
		if err := os.WriteFile(s.file(name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	url := local("https", port)
	file := api.NewConfig()
	file.CurrentContext = "test"
	file.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: "admin"}
	file.Clusters["test"] = &api.Cluster{Server: url, CertificateAuthorityData: ca.CertPEM()}
	file.AuthInfos["admin"] = &api.AuthInfo{Token: token}
	if err := clientcmd.WriteToFile(*file, s.file("admin.kubeconfig")); err != nil {
		return nil, err
	}
	// Without a limit, because a test is often faster than a person.
	return &rest.Config{Host: url, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca.CertPEM()}, QPS: -1}, nil
}
