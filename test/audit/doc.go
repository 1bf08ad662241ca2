// Package audit holds what our ServiceAccounts may do against what they did: the
// Roles and ClusterRoles that are bound to them against the API server's audit log
// of a run, and against the page that gives the reason for each verb.
package audit
