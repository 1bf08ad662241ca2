// Package apiserver runs the real kube-apiserver and etcd, which test/lab builds,
// for one test, on this host: no root, no machine, some seconds. Nothing acts on
// what a test makes there. There is no kubelet, so that a pod stays Pending until
// the test says in its status how it is; no scheduler; and no controller, but for
// those that [Server.Controllers] starts.
//
// Everything ends with the test, and also when the test's process is killed.
package apiserver
