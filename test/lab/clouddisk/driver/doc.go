// Package driver is the CSI driver of the lab's cloud disks: a controller that
// runs on the host, where the machines are, and a node service in each machine.
package driver
