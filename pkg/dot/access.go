package dot

// Requester is who asks for a dot on behalf of a PVC.
type Requester struct {
	// KubernetesNamespace of the PVC; "" when the caller told none.
	KubernetesNamespace string
	// CrossNamespace: the StorageClass lets its PVCs use dots of other
	// namespaces.
	CrossNamespace bool
}

// MayUse tells whether a PVC may use an existing dot that it names: its owner's
// namespace may, those it was shared with may, and others only through a
// StorageClass that says so. The refusal names the command that would allow it.
func (d Dot) MayUse(r Requester) error {
	switch {
	case d.MadeByPVC && d.Owner == r.KubernetesNamespace, d.Shares.Includes(r.KubernetesNamespace), r.CrossNamespace:
		return nil
	case !d.MadeByPVC:
		return Errorf(CodePermission, "dot %s was made by dm and belongs to no Kubernetes namespace; to let namespace %q use it run: dm dot share %s %s", d.FullName, r.KubernetesNamespace, d.FullName, r.KubernetesNamespace)
	}
	return Errorf(CodePermission, "dot %s belongs to Kubernetes namespace %q; to let namespace %q use it run: dm dot share %s %s", d.FullName, d.Owner, r.KubernetesNamespace, d.FullName, r.KubernetesNamespace)
}
