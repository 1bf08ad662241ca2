package config

import (
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Size is a number of bytes, as Kubernetes has it too.
type Size struct{ dot.Size }

// minPoolSize is the smallest pool that a server makes.
const minPoolSize = 256 << 20

// ParseSize reads what dot.ParseSize does, so that a size means the same here and
// in --pool-size of a server.
func ParseSize(s string) (Size, error) {
	size, err := dot.ParseSize(s)
	return Size{size}, err
}

// parsePoolSize reads a size that a pool can have.
func parsePoolSize(s string) (Size, error) {
	size, err := ParseSize(s)
	if err == nil && size.Bytes() < minPoolSize {
		return Size{}, refuse(s, "%s or more: a pool needs that much", dot.SizeOf(minPoolSize))
	}
	return size, err
}

// Quantity is the size as Kubernetes has it.
func (s Size) Quantity() resource.Quantity {
	return *resource.NewQuantity(s.Bytes(), resource.BinarySI)
}
