package specs

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reference is what an Event on an object names it by. The kind has to be given: an object
// that was read does not tell it.
func Reference(apiVersion, kind string, o metav1.Object) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: apiVersion, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID()}
}

// ConfigMapReference is that of a ConfigMap.
func ConfigMapReference(cm *corev1.ConfigMap) *corev1.ObjectReference {
	return Reference("v1", "ConfigMap", cm)
}
