package lab

import "path/filepath"

// auditPolicy has the API server write down what the ServiceAccounts of the
// namespace dotmesh ask of it, and of nobody else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:dotmesh"]
  - level: None
`

func (s *site) auditPolicy() string { return filepath.Join(s.dir, "audit-policy.yaml") }

// AuditLogs are the files with what ServiceAccounts of the namespace dotmesh asked of
// the API server, in the format audit.k8s.io/v1.
func (c *Cluster) AuditLogs() ([]string, error) {
	return filepath.Glob(filepath.Join(c.Dir(), "audit*.log"))
}
