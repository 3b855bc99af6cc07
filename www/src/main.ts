import './app.ts';
import { session } from './engine/session.ts';

// `?wallet=name` opens another wallet in the same browser profile.
const name = new URLSearchParams(location.search).get('wallet') || 'strongroom';
void session.start(name);
