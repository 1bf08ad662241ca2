// Package report tells people how the cluster is: by Events on the objects that
// they are about, by metrics, and by labels on the servers' pods.
package report
