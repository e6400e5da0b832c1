// node classify.mjs <host:port of a cloud> <bundle's folder> <photo>
import { connect } from '@raccoon/client';

const [cloud, bundle, photo] = process.argv.slice(2);
const client = await connect({ cloud, bundle });
try {
  const { top, bytes, bpp } = await client.classify(photo);
  console.log(JSON.stringify({ top, bytes, bpp }));
} finally {
  await client.close();
}
