// Package docs holds the documentation against the repository: what it names
// exists, and what must be in it is.
package docs
