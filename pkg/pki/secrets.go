package pki

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// Names of the files of a Secret; those of kubernetes.io/tls.
const (
	CAFile    = "ca.crt"
	CAKeyFile = "ca.key"
	CertFile  = "tls.crt"
	KeyFile   = "tls.key"
)

// Secrets are files by Secret and name.
type Secrets map[string]map[string][]byte

// String keeps the keys out of logs.
func (s Secrets) String() string { return fmt.Sprint(slices.Sorted(maps.Keys(s))) }

// GoString keeps the keys out of logs.
func (s Secrets) GoString() string { return s.String() }

// dnsLabel is what Kubernetes takes as the name of a namespace (RFC 1123).
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// YAML writes the Secrets as manifests for a Kubernetes namespace, in the order
// of their names. It holds private keys.
func (s Secrets) YAML(namespace string) ([]byte, error) {
	if !dnsLabel.MatchString(namespace) {
		return nil, fmt.Errorf("%q is not the name of a Kubernetes namespace", namespace)
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s)) {
		kind := "Opaque"
		if s[name][CertFile] != nil && s[name][KeyFile] != nil {
			kind = "kubernetes.io/tls"
		}
		fmt.Fprintf(&out, "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n  labels:\n    app.kubernetes.io/part-of: dotmesh\ntype: %s\ndata:\n", name, namespace, kind)
		for _, file := range slices.Sorted(maps.Keys(s[name])) {
			fmt.Fprintf(&out, "  %s: %s\n", file, base64.StdEncoding.EncodeToString(s[name][file]))
		}
	}
	return out.Bytes(), nil
}
