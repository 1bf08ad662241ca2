// Package upgrades asks the server at upgradesUrl whether there is a newer version
// of dotmesh. It changes nothing in the cluster: it tells whoever made it.
//
// What is asked, and what is answered, stands in docs/configuration.md. The
// question holds no name, and the answer is not believed beyond a version.
package upgrades
