//go:build apiserver

package pools_test

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// play does once what is not the operator's, and tells whether there was anything.
func (w *world) play() bool {
	w.Helper()
	var all corev1.PodList
	w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace)))
	changed := false
	for i := range all.Items {
		pod := &all.Items[i]
		switch {
		case pod.DeletionTimestamp != nil:
			changed = w.kill(pod) || changed
		case pod.Spec.NodeName == "":
			changed = w.schedule(pod) || changed
		case pod.Status.Phase == corev1.PodPending:
			changed = w.run(pod) || changed
		}
	}
	changed = w.detach() || changed
	changed = w.unprotect() || changed
	w.serve()
	return changed
}

// schedule gives a pod to the node that it is for, and binds its PVC there.
func (w *world) schedule(pod *corev1.Pod) bool {
	w.Helper()
	name := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
	var n corev1.Node
	if err := w.client.Get(w.Context(), client.ObjectKey{Name: name}, &n); err != nil || w.off[name] {
		return false
	}
	if pvc := w.claimOf(pod); pvc != nil {
		if pvc.DeletionTimestamp != nil {
			return false // as the scheduler's VolumeBinding
		}
		w.bindVolume(pvc, &n)
	}
	w.must(w.client.SubResource("binding").Create(w.Context(), pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: name}}))
	return true
}

func (w *world) claimOf(pod *corev1.Pod) *corev1.PersistentVolumeClaim {
	w.Helper()
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			return w.pvc(v.PersistentVolumeClaim.ClaimName)
		}
	}
	return nil
}

// bindVolume makes a PersistentVolume in the node's zone for a PVC that has none.
func (w *world) bindVolume(pvc *corev1.PersistentVolumeClaim, n *corev1.Node) {
	w.Helper()
	if pvc.Spec.VolumeName != "" {
		return
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + string(pvc.UID)},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: *pvc.Spec.Resources.Requests.Storage()},
			AccessModes: pvc.Spec.AccessModes, VolumeMode: pvc.Spec.VolumeMode, StorageClassName: *pvc.Spec.StorageClassName,
			ClaimRef:                      &corev1.ObjectReference{Namespace: pvc.Namespace, Name: pvc.Name, UID: pvc.UID},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "disk.test", VolumeHandle: string(pvc.UID)}},
		},
	}
	if zone := n.Labels[corev1.LabelTopologyZone]; zone != "" {
		pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{zone}}},
		}}}}
	}
	w.must(w.client.Create(w.Context(), pv))
	pvc.Spec.VolumeName = pv.Name
	w.must(w.client.Update(w.Context(), pvc))
	pvc.Status.Phase, pvc.Status.Capacity = corev1.ClaimBound, pv.Spec.Capacity
	w.must(w.client.Status().Update(w.Context(), pvc))
}

// run starts a pod whose volume can be attached.
func (w *world) run(pod *corev1.Pod) bool {
	w.Helper()
	if w.off[pod.Spec.NodeName] {
		return false
	}
	if pvc := w.claimOf(pod); pvc != nil && !w.attach(pvc.Spec.VolumeName, pod.Spec.NodeName) {
		return false
	}
	if image := pod.Spec.Containers[0].Image; w.badImages[image] {
		if len(pod.Status.ContainerStatuses) > 0 {
			return false
		}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: pod.Spec.Containers[0].Name, Image: image, State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"},
		}}}
		w.must(w.client.Status().Update(w.Context(), pod))
		return true
	}
	w.lastIP++
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, fmt.Sprintf("10.99.0.%d", w.lastIP)
	pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
	if pod.Labels[specs.LabelComponent] == specs.ComponentHolder || w.importPool(pod) {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	}
	w.must(w.client.Status().Update(w.Context(), pod))
	return true
}

func (w *world) attachments(volume string) []storagev1.VolumeAttachment {
	w.Helper()
	var all storagev1.VolumeAttachmentList
	w.must(w.client.List(w.Context(), &all))
	return slices.DeleteFunc(all.Items, func(a storagev1.VolumeAttachment) bool {
		return volume != "" && *a.Spec.Source.PersistentVolumeName != volume
	})
}

// attach attaches a disk, which one machine can have at a time.
func (w *world) attach(volume, node string) bool {
	w.Helper()
	if have := w.attachments(volume); len(have) > 0 {
		return len(have) == 1 && have[0].Spec.NodeName == node && have[0].Annotations[host] == w.host(node)
	}
	a := &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "csi-", Annotations: map[string]string{host: w.host(node)}},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: "disk.test", NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}},
	}
	w.must(w.client.Create(w.Context(), a))
	return true
}

// detach detaches what no pod of the node has any more. A disk that goes while the
// machine's kernel has its pool imported is what the holder is there to prevent.
func (w *world) detach() bool {
	w.Helper()
	var all corev1.PodList
	w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace)))
	changed := false
	for _, a := range w.attachments("") {
		volume := *a.Spec.Source.PersistentVolumeName
		if a.Spec.Attacher == specs.DriverName {
			continue // a dot's
		}
		if slices.ContainsFunc(all.Items, func(pod corev1.Pod) bool {
			pvc := w.claimOf(&pod)
			return pvc != nil && pvc.Spec.VolumeName == volume && pod.Spec.NodeName == a.Spec.NodeName
		}) {
			continue
		}
		if d := w.disks[strings.TrimPrefix(volume, "pv-")]; d != nil && d.importedOn == a.Spec.NodeName {
			w.Fatalf("the disk of %s was taken from node %s with its pool imported", volume, a.Spec.NodeName)
		}
		w.must(w.client.Delete(w.Context(), &a))
		changed = true
	}
	return changed
}

// unprotect lets a PVC go that is being deleted and that no pod has any more, as the
// controller of such PVCs does. What lies on the disk goes with it.
func (w *world) unprotect() bool {
	w.Helper()
	const protection = "kubernetes.io/pvc-protection"
	var all corev1.PodList
	changed := false
	for _, pvc := range w.pvcs() {
		if pvc.DeletionTimestamp == nil || !slices.Contains(pvc.Finalizers, protection) {
			continue
		}
		w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace)))
		if slices.ContainsFunc(all.Items, func(pod corev1.Pod) bool {
			mounted := w.claimOf(&pod)
			return mounted != nil && mounted.UID == pvc.UID
		}) {
			continue
		}
		if d := w.disks[string(pvc.UID)]; d != nil && d.importedOn != "" {
			w.Fatalf("PVC %s is deleted while node %s has its pool imported", pvc.Name, d.importedOn)
		}
		pvc.Finalizers = slices.DeleteFunc(pvc.Finalizers, func(f string) bool { return f == protection })
		w.must(w.client.Update(w.Context(), &pvc))
		changed = true
	}
	return changed
}

// kill ends a pod that is being deleted, as its kubelet does.
func (w *world) kill(pod *corev1.Pod) bool {
	w.Helper()
	if pod.Spec.NodeName != "" && w.off[pod.Spec.NodeName] {
		return false
	}
	w.must(client.IgnoreNotFound(w.client.Delete(w.Context(), pod, client.GracePeriodSeconds(0))))
	return true
}
