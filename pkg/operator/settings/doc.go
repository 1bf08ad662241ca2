// Package settings follows the ConfigMap "configuration" and says which
// configuration is in force: what the ConfigMap says, if that is good and may
// follow the last good one, or else the last good one, whole.
//
// The last good one is kept in the ConfigMap "dotmesh-settings", which is written
// before anything acts on it, and only by compare-and-set; so it is in force also
// after a restart. Before there was any "configuration", nothing is in force. It is
// mounted in every pod of ours, which is how a change reaches them without a restart.
//
// What is wrong shows as one Event for each problem, as the annotation
// [StatusAnnotation] of "configuration", whose data is never changed, and as
// [Settings.Refused].
package settings
