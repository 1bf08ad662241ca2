// Package config is the ConfigMap "configuration": what its keys mean, and what
// changing one does to a cluster that runs. It is pure; reading the ConfigMap,
// and acting on a Plan, are other packages'.
//
// Parse turns the ConfigMap's data into a Config, or into a Refusal that tells
// every problem at once. Config.Change compares the configuration that holds
// with the next one: either all of it is taken, or none.
//
// Because a refused configuration leaves the last good one in force, also across
// a restart of the operator, the last good one is kept as Config.Data gives it,
// which Parse reads back to an equal Config.
//
// A size counts in powers of 1024, whatever its unit is spelled like: 10G, 10Gi
// and 10GiB are 10 × 1024³ bytes, as in --pool-size of a server. Objects and
// flags are given the spelling of Size.String, which means the same to both.
package config
