// Package house holds the tests that keep the tree as it was designed: what the root module depends on, who may import
// whom, that fuzz targets are seeded and that files stay short. It has no code of its own.
package house
