package reserve

// HeldBytes is the size of the ballast.
func HeldBytes(r *Reserve) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}
