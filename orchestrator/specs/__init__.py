"""What a grid's specification is made of."""
