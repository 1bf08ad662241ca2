// Package specs builds the objects that the operator makes, and spells their
// names, labels and annotations. It is pure: the same input gives the same
// object, and nothing here reaches a cluster.
package specs
