// Package controller is the CSI controller service. It turns CSI calls, with
// the annotations of the PVC and the parameters of the StorageClass, into calls
// of a dotmesh server's VolumeService, and keeps nothing itself.
//
// What outside text says is parsed in parameters.go, annotations.go and
// capabilities.go, which do no I/O. The PVC and the VolumeSnapshot are read with
// one live GET each (kubernetes.go): a cache could still show the annotations of
// a PVC that was deleted and made again under the same name.
package controller
