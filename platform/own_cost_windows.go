package platform

func ownCost() (uint64, float64) { return 0, 0 }
