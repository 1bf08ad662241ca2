// Package arch keeps the shape of the repository: which package may import
// which, which room a third-party module lives in, and how large a piece of code
// may grow. Every rule is a line of data with the reason for it, which a
// violation prints. The rules read source text alone, whatever its build tags.
package arch
