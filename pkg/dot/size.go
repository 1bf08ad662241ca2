package dot

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes, one or more; only the zero value has none.
type Size struct{ bytes int64 }

const sizeUnits = "KMGTPE"

// sizeGrammar is that of a Kubernetes quantity without a sign, and of a unit with
// "B". Its bounds keep the arithmetic small.
var sizeGrammar = regexp.MustCompile(`^([0-9]{1,19}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:(?:([kKMGTPE])i?)?B?|[eE]\+?([0-9]{1,2}))$`)

// ParseSize reads 10G, 10GiB, 10Gi and the like. Units are powers of 1024, with
// or without "i" and "B": to Kubernetes 10G would be 10 × 1000³, but to dotmesh
// it has always been 10 × 1024³, and a size has one meaning here. A part of a
// byte counts as one, as in Kubernetes.
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
		power := strings.Index(sizeUnits, unit) + 1
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
	return Invalid("%q is not valid: use a size such as 10G or 10Gi, which are both 10 × 1024³ bytes (the units are K, M, G, T, P and E, up to 8E less a byte)", clip(s))
}

// SizeOf is n bytes, the zero value when n is not positive.
func SizeOf(n int64) Size { return Size{max(n, 0)} }

// Bytes counts them.
func (s Size) Bytes() int64 { return s.bytes }

// String gives the largest unit that divides it, up to P, spelled so that
// Kubernetes and ParseSize read the same from it: 10Gi.
func (s Size) String() string {
	n, power := s.bytes, 0
	for n != 0 && n%1024 == 0 && power < len(sizeUnits)-1 {
		n, power = n/1024, power+1
	}
	if power == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + sizeUnits[power-1:power] + "i"
}
