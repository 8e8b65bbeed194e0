"""What is kept between requests. Above: `server` keeps responses here. Below: nothing; a database will come beside
`ephemeral`, behind the same protocol."""
