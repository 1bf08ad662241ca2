// Package manifests holds what deploy and sidecars say against Kubernetes' own
// types and against the rest of the repository.
package manifests
