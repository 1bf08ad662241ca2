package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	snapshots "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned/typed/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Object is what the controller wants to know of a PVC or a VolumeSnapshot.
type Object struct {
	UID         string
	Annotations map[string]string
}

// Kubernetes reads single objects as they are now. Errors are *dot.Error:
// CodeNotFound when there is no such object, else CodeUnavailable.
type Kubernetes interface {
	PersistentVolumeClaim(ctx context.Context, namespace, name string) (Object, error)
	VolumeSnapshot(ctx context.Context, namespace, name string) (Object, error)
}

// kubeTimeout bounds one GET, so that a slow API server leaves the rest of the
// call its time.
const kubeTimeout = 15 * time.Second

type kubeReader struct {
	core      corev1.CoreV1Interface
	snapshots snapshots.SnapshotV1Interface
}

// NewKubernetes reads from an API server.
func NewKubernetes(cfg *rest.Config) (Kubernetes, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout = kubeTimeout
	core, err := corev1.NewForConfig(cfg)
	if err != nil {
		return nil, dot.Invalid("Kubernetes client: %w", err)
	}
	snaps, err := snapshots.NewForConfig(cfg)
	if err != nil {
		return nil, dot.Invalid("Kubernetes client: %w", err)
	}
	return &kubeReader{core, snaps}, nil
}

func (k *kubeReader) PersistentVolumeClaim(ctx context.Context, namespace, name string) (Object, error) {
	pvc, err := k.core.PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Object{}, classed("PersistentVolumeClaim", namespace, name, err)
	}
	return Object{UID: string(pvc.UID), Annotations: pvc.Annotations}, nil
}

func (k *kubeReader) VolumeSnapshot(ctx context.Context, namespace, name string) (Object, error) {
	vs, err := k.snapshots.VolumeSnapshots(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Object{}, classed("VolumeSnapshot", namespace, name, err)
	}
	return Object{UID: string(vs.UID), Annotations: vs.Annotations}, nil
}

func classed(kind, namespace, name string, err error) error {
	if apierrors.IsNotFound(err) {
		return dot.NotFound("%s %s/%s does not exist", kind, namespace, name)
	}
	return dot.Unavailable("read %s %s/%s: %w", kind, namespace, name, err)
}

// madeFor tells whether a sidecar gave this CSI name to the object of this UID:
// it is "<prefix>-<uid>", "pvc-" and "snapshot-" unless configured otherwise.
func madeFor(csiName, uid string) bool {
	return uid != "" && strings.HasSuffix(csiName, "-"+uid)
}

// claimed reads what the PVC of a CreateVolume call chooses. Anything but the
// PVC that the call was made for is never "no annotations": a volume must not
// become another than its PVC asks for because a read failed. What cannot be read
// now is CodeUnavailable.
func (s *service) claimed(ctx context.Context, csiName string, p classParameters) (choice, string, error) {
	if p.PVCName == "" {
		return choice{}, "", nil
	}
	if s.kube == nil {
		return choice{}, "", dot.Unavailable("the controller has no access to Kubernetes and so cannot read the annotations of PersistentVolumeClaim %s/%s; start it without --without-kubernetes", p.PVCNamespace, p.PVCName)
	}
	pvc, err := s.kube.PersistentVolumeClaim(ctx, p.PVCNamespace, p.PVCName)
	switch {
	case err != nil && dot.CodeOf(err) == dot.CodeNotFound:
		return s.begun(ctx, csiName, dot.Precondition("%w: it was deleted, and no volume is made for it any more", err))
	case err != nil:
		return choice{}, "", &dot.Error{Code: dot.CodeUnavailable, Message: err.Error(), Cause: err}
	case pvc.UID == "":
		return choice{}, "", dot.Unavailable("the answer of Kubernetes gives PersistentVolumeClaim %s/%s no UID", p.PVCNamespace, p.PVCName)
	case !madeFor(csiName, pvc.UID):
		return s.begun(ctx, csiName, dot.Precondition("PersistentVolumeClaim %s/%s has UID %s, which is not the one that volume %s is for: it was deleted and made again, and no volume is made for the old one any more", p.PVCNamespace, p.PVCName, pvc.UID, csiName))
	}
	c, err := parseAnnotations(pvc.Annotations)
	return c, pvc.UID, err
}

// begun gives what a PVC that is gone had chosen when its volume was begun. The
// provisioner asks until an answer is final, with the PVC as it remembers it, so
// that what it made unknowingly becomes a PersistentVolume and can be deleted as
// one (ProvisioningInBackground in sig-storage-lib-external-provisioner). Only
// where nothing was begun may it be told to stop.
func (s *service) begun(ctx context.Context, csiName string, stop error) (choice, string, error) {
	v, err := s.get(ctx, dot.VolumeIDOf(csiName).String())
	switch {
	case err != nil && dot.CodeOf(err) == dot.CodeNotFound:
		return choice{}, "", stop
	case err != nil:
		return choice{}, "", dot.Unavailable("tell whether volume %s was begun: %w", csiName, err)
	}
	c, err := chosenFor(v)
	if err != nil {
		return choice{}, "", fmt.Errorf("the server describes volume %s as it cannot be: %w", csiName, err)
	}
	return c, "", nil
}

// message reads the commit's message from the VolumeSnapshot. One that is gone
// or was made anew has none: the commit does not depend on it.
func (s *service) message(ctx context.Context, csiName string, p snapshotParameters) (string, error) {
	if p.Name == "" {
		return "", nil
	}
	if s.kube == nil {
		return "", dot.Unavailable("the controller has no access to Kubernetes and so cannot read the annotations of VolumeSnapshot %s/%s; start it without --without-kubernetes", p.Namespace, p.Name)
	}
	vs, err := s.kube.VolumeSnapshot(ctx, p.Namespace, p.Name)
	switch {
	case dot.CodeOf(err) == dot.CodeNotFound && err != nil:
		return "", nil
	case err != nil:
		return "", err
	case !madeFor(csiName, vs.UID):
		return "", nil
	}
	message := vs.Annotations[annotationMessage]
	if err := dot.CheckMessage(message); err != nil {
		return "", in("annotation", annotationMessage, err)
	}
	return message, nil
}
