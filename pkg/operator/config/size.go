package config

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Size is a number of bytes, one or more; only the zero value has none.
type Size struct{ bytes int64 }

const (
	// minPoolSize is the smallest pool that a server makes.
	minPoolSize = 256 << 20

	units = "KMGTPE"
)

// sizeGrammar is that of a Kubernetes quantity without a sign, and of --pool-size.
// Its bounds keep the arithmetic small.
var sizeGrammar = regexp.MustCompile(`^([0-9]{1,19}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:(?:([kKMGTPE])i?)?B?|[eE]\+?([0-9]{1,2}))$`)

// ParseSize reads a Kubernetes quantity, or what --pool-size takes. Units are
// powers of 1024, with or without "i" and "B": to Kubernetes 10G would be
// 10 × 1000³, but to the servers, and to the storage mode "local" since there has
// been one, it is 10 × 1024³, and a size has one meaning here. A part of a byte
// counts as one, as in Kubernetes.
func ParseSize(s string) (Size, error) {
	m := sizeGrammar.FindStringSubmatch(s)
	if m == nil {
		return Size{}, badSize(s)
	}
	number, unit, exponent := m[1], strings.ToUpper(m[2]), m[3]
	if exponent != "" {
		number += "e" + exponent
	}
	exact, ok := new(big.Rat).SetString(number)
	if !ok {
		return Size{}, badSize(s)
	}
	if unit != "" {
		power := strings.Index(units, unit) + 1
		exact.Mul(exact, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(10*power))))
	}
	bytes := roundUp(exact)
	if !bytes.IsInt64() || bytes.Sign() <= 0 {
		return Size{}, badSize(s)
	}
	return Size{bytes.Int64()}, nil
}

func roundUp(r *big.Rat) *big.Int {
	whole, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return whole
}

func badSize(s string) error {
	return refuse(s, "a size such as 10G or 10Gi, which are both 10 × 1024³ bytes (the units are K, M, G, T, P and E, up to 8E less a byte)")
}

// parsePoolSize reads a size that a pool can have.
func parsePoolSize(s string) (Size, error) {
	size, err := ParseSize(s)
	if err == nil && size.bytes < minPoolSize {
		return Size{}, refuse(s, "%s or more: a pool needs that much", Size{minPoolSize})
	}
	return size, err
}

// Bytes counts them.
func (s Size) Bytes() int64 { return s.bytes }

// Quantity is the size as Kubernetes has it.
func (s Size) Quantity() resource.Quantity {
	return *resource.NewQuantity(s.bytes, resource.BinarySI)
}

// String gives the largest unit that divides it, spelled so that Kubernetes,
// --pool-size (which knows no E) and ParseSize read the same from it: 10Gi.
func (s Size) String() string {
	n, power := s.bytes, 0
	for n != 0 && n%1024 == 0 && power < len(units)-1 {
		n, power = n/1024, power+1
	}
	if power == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + units[power-1:power] + "i"
}
